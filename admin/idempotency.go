package admin

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"apibuilder/store"
)

const (
	answerLife    = 24 * time.Hour
	workTime      = time.Minute // put off every third of it
	storeTimeout  = 10 * time.Second
	maxKeptAnswer = 256 << 10 // bytes of a body

	leastKey, mostKey = 16, 200 // characters
)

// keyed is a request with an idempotency key. What is stored of it can be found, compared and read by nothing but the same key
// from the same caller: all three secrets are derived from both.
type keyed struct {
	id, mark [32]byte
	seal     cipher.AEAD
}

// keptAnswer is what is stored, encrypted, of an answer.
type keptAnswer struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// once carries a request with an idempotency key out one time: the same request gets the same answer for a day.
func (s *Server) once(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text := r.Header.Get("Idempotency-Key")
		if r.Method != http.MethodPost || text == "" {
			next(w, r)
			return
		}
		k, err := s.readKeyed(w, r, text)
		if err == nil {
			err = s.carryOut(w, r, k, next)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	}
}

// readKeyed reads the body, which is part of what makes a request the same, and puts it back.
func (s *Server) readKeyed(w http.ResponseWriter, r *http.Request, text string) (keyed, error) {
	if err := checkIdempotencyKey(text); err != nil {
		return keyed{}, err
	}
	limit := bodyLimit(s.pattern(r))
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(timeFor(limit))) // a writer that cannot is a test's
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_ = control.SetReadDeadline(time.Time{})
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return keyed{}, tooLarge
	}
	if err != nil {
		return keyed{}, badRequest("the body ended early", "send it whole")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return newKeyed(callerOf(r.Context()), text, r.URL.RequestURI(), r.Header.Get("Content-Type"), body)
}

func bodyLimit(pattern string) int64 {
	if most := operations[pattern].most; most > 0 {
		return most
	}
	return maxBody
}

func checkIdempotencyKey(text string) error {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return badRequest("the idempotency key has characters that are no visible ASCII", "use a random UUID")
		}
	}
	if len(text) < leastKey || len(text) > mostKey {
		return badRequest(fmt.Sprintf("the idempotency key has %d characters", len(text)),
			fmt.Sprintf("use from %d to %d that nobody can guess, for example a random UUID", leastKey, mostKey))
	}
	return nil
}

func newKeyed(c caller, key string, parts ...any) (keyed, error) {
	var k keyed
	secret := []byte(c.secret + "\x00" + key)
	derive := func(what string) ([]byte, error) {
		return hkdf.Key(sha256.New, secret, nil, "apibuilder idempotency "+what, 32)
	}
	id, err := derive("id of " + c.token)
	if err != nil {
		return k, fmt.Errorf("derive an id: %w", err)
	}
	mark, err := derive("fingerprint")
	if err != nil {
		return k, fmt.Errorf("derive a key: %w", err)
	}
	encryption, err := derive("answer")
	if err != nil {
		return k, fmt.Errorf("derive a key: %w", err)
	}
	mac := hmac.New(sha256.New, mark)
	for _, part := range parts {
		_, _ = fmt.Fprintf(mac, "%d %s\n", len(fmt.Sprintf("%s", part)), part) // a hash takes everything
	}
	copy(k.id[:], id)
	copy(k.mark[:], mac.Sum(nil))
	block, err := aes.NewCipher(encryption)
	if err != nil {
		return k, fmt.Errorf("make a cipher: %w", err)
	}
	k.seal, err = cipher.NewGCMWithRandomNonce(block)
	return k, err
}

// carryOut claims the key and calls next, or answers with what another request with it came to.
func (s *Server) carryOut(w http.ResponseWriter, r *http.Request, k keyed, next http.HandlerFunc) error {
	now := time.Now()
	claim := store.Answer{
		ID: k.id, Owner: callerOf(r.Context()).token, Fingerprint: k.mark, CreatedAt: now,
		ExpiresAt: now.Add(answerLife), WorkedUntil: now.Add(workTime),
	}
	there, claimed, err := s.store.ClaimAnswer(r.Context(), claim)
	switch {
	case err != nil:
		return fmt.Errorf("look for the answer to an idempotency key: %w", err)
	case claimed:
		s.work(w, r, k, next)
		return nil
	case !hmac.Equal(there.Fingerprint[:], k.mark[:]):
		return &requestError{
			"key_reused", "this idempotency key came with another request before", "use a new key for each request",
		}
	case len(there.Text) > 0:
		return k.replay(w, r, there.Text)
	case now.Before(there.WorkedUntil):
		w.Header().Set("Retry-After", "1")
		return &requestError{
			"request_in_progress", "the request with this idempotency key is still worked on", "send it again in a moment for its answer",
		}
	}
	return &requestError{
		"outcome_unknown", "a server ended while it worked on the request with this idempotency key",
		"look whether it was done; if not, send it with another key",
	}
}

// work calls next and keeps what it answers, unless the server was at fault: then the same request may be tried again.
func (s *Server) work(w http.ResponseWriter, r *http.Request, k keyed, next http.HandlerFunc) {
	ctx := context.WithoutCancel(r.Context()) // an answer that its client did not wait for is kept too
	end := s.putOff(ctx, k)
	recording := &recorder{ResponseWriter: w, status: http.StatusOK}
	finished := false
	defer func() {
		end()
		if err := s.keep(ctx, k, recording, finished && !subjectOf(r.Context()).serverAtFault()); err != nil {
			s.cfg.Log.Error("the answer to an idempotency key is not kept", zap.String("request_id", requestID(r)), zap.Error(err))
		}
	}()
	next(recording, r)
	finished = true
}

// putOff says now and then that the request is still worked on, until end is called, which waits for it.
func (s *Server) putOff(ctx context.Context, k keyed) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(workTime / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			// An error is met again when the answer is kept.
			_ = s.store.KeepAnswer(ctx, k.id, time.Now().Add(workTime), nil)
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

func (s *Server) keep(ctx context.Context, k keyed, recording *recorder, good bool) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	body, whole := recording.kept()
	if !good || !whole {
		return s.store.DropAnswer(ctx, k.id)
	}
	header := http.Header{}
	for _, name := range []string{"Content-Type", "Cache-Control", "ETag"} {
		if value := recording.Header().Get(name); value != "" {
			header.Set(name, value)
		}
	}
	plain, err := json.Marshal(keptAnswer{recording.status, header, body})
	if err != nil {
		return fmt.Errorf("write an answer: %w", err)
	}
	return s.store.KeepAnswer(ctx, k.id, time.Now(), k.seal.Seal(nil, nil, plain, k.id[:]))
}

func (k keyed) replay(w http.ResponseWriter, r *http.Request, text []byte) error {
	plain, err := k.seal.Open(nil, nil, text, k.id[:])
	if err != nil {
		return fmt.Errorf("open a kept answer: %w", err)
	}
	var kept keptAnswer
	if err := json.Unmarshal(plain, &kept); err != nil {
		return fmt.Errorf("read a kept answer: %w", err)
	}
	for name, values := range kept.Header {
		w.Header()[name] = values
	}
	subjectOf(r.Context()).replayed(kept.Status)
	w.Header().Set("Idempotency-Replayed", "true")
	w.WriteHeader(kept.Status)
	_, _ = w.Write(kept.Body) // the client is gone: nobody is left to tell
	return nil
}

// recorder remembers what is written through it: all of it, or of an answer in lines that is longer what came last.
// A handler writes a line at a time.
type recorder struct {
	http.ResponseWriter
	status int
	mu     sync.Mutex
	body   []byte
	lost   bool // a line is larger than what is kept
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// WriteHeader is as in http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Write is as in http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	if len(r.body)+len(b) > maxKeptAnswer {
		r.body = nil
		r.lost = len(b) > maxKeptAnswer || b[len(b)-1] != '\n'
	}
	if !r.lost {
		r.body = append(r.body, b...)
	}
	r.mu.Unlock()
	return r.ResponseWriter.Write(b)
}

// kept is the body to keep, and whether there is one.
func (r *recorder) kept() ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body, !r.lost
}
