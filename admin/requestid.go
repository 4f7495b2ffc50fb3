package admin

import (
	"context"
	"net/http"

	"apibuilder/store"
)

type requestIDKey struct{}

func withRequestID(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), requestIDKey{}, store.NewID("req")))
}

// requestID is the id that the answer and the log carry.
func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestIDKey{}).(string)
	return id
}
