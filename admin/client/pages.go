package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"apibuilder/admin"
)

// pageSize is how many items are asked for at a time.
const pageSize = 1000

// list reads the pages of a list into a slice.
func (c *Client) list(ctx context.Context, path string, into reflect.Value) error {
	all := reflect.MakeSlice(into.Type(), 0, 0)
	err := c.pages(ctx, path, func(answer []byte) (int, string, error) {
		items := reflect.New(into.Type())
		if bytes.HasPrefix(bytes.TrimSpace(answer), []byte("[")) { // of a server from before there were pages
			err := json.Unmarshal(answer, items.Interface())
			all = reflect.AppendSlice(all, items.Elem())
			return 0, "", err
		}
		var page struct {
			Items json.RawMessage `json:"items"`
			Next  string          `json:"next"`
		}
		if err := json.Unmarshal(answer, &page); err != nil {
			return 0, "", err
		}
		if err := json.Unmarshal(page.Items, items.Interface()); err != nil {
			return 0, "", err
		}
		all = reflect.AppendSlice(all, items.Elem())
		return items.Elem().Len(), page.Next, nil
	})
	if err == nil {
		into.Set(all)
	}
	return err
}

// Usage reads usage records, the newest first. The query's limit is as in Call.
func (c *Client) Usage(ctx context.Context, query url.Values) (all admin.Usage, err error) {
	all.Records = []admin.UsageRecord{}
	err = c.pages(ctx, Path("usage")+"?"+query.Encode(), func(answer []byte) (int, string, error) {
		var one admin.Usage
		err := json.Unmarshal(answer, &one)
		all.Total, all.Records = one.Total, append(all.Records, one.Records...)
		return len(one.Records), one.Next, err
	})
	return all, err
}

// Sums reads sums of usage. The query's limit is as in Call.
func (c *Client) Sums(ctx context.Context, query url.Values) (admin.UsageSums, error) {
	return sums(ctx, c, Path("usage", "sums")+"?"+query.Encode(), func(a *admin.UsageSums) (*[]admin.UsageSum, *string) {
		return &a.Sums, &a.Next
	})
}

// EgressSums reads sums of what programs reached outside. The query's limit is as in Call.
func (c *Client) EgressSums(ctx context.Context, query url.Values) (admin.EgressSums, error) {
	return sums(ctx, c, Path("usage", "egress")+"?"+query.Encode(), func(a *admin.EgressSums) (*[]admin.EgressSum, *string) {
		return &a.Sums, &a.Next
	})
}

// sums follows the pages of an answer with sums in it; parts finds them, and where they go on.
func sums[A, S any](ctx context.Context, c *Client, path string, parts func(*A) (*[]S, *string)) (all A, err error) {
	found := []S{}
	err = c.pages(ctx, path, func(answer []byte) (int, string, error) {
		var one A
		err := json.Unmarshal(answer, &one)
		some, next := parts(&one)
		all, found = one, append(found, *some...)
		return len(*some), *next, err
	})
	some, next := parts(&all)
	*some, *next = found, ""
	return all, err
}

// pages calls each with one answer after the other; it returns how many items that had, and where the list goes on.
func (c *Client) pages(ctx context.Context, path string, each func(answer []byte) (n int, next string, err error)) error {
	path, text, _ := strings.Cut(path, "?")
	query, err := url.ParseQuery(text)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	left := -1 // no limit
	if text := query.Get("limit"); text != "" && text != "0" {
		if left, err = strconv.Atoi(text); err != nil {
			left = -1 // the server says what is wrong with it
		}
	}
	for {
		switch {
		case left > 0:
			query.Set("limit", strconv.Itoa(min(left, pageSize)))
		case left < 0 && (query.Get("limit") == "" || query.Get("limit") == "0"):
			query.Set("limit", strconv.Itoa(pageSize))
		}
		var answer json.RawMessage
		if _, err := c.CallIf(ctx, http.MethodGet, path+"?"+query.Encode(), "", nil, &answer); err != nil {
			return err
		}
		n, next, err := each(answer)
		if err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		if next == "" || next == query.Get("cursor") { // a server that goes round in circles
			return nil
		}
		if left > 0 {
			if left -= n; left <= 0 {
				return nil
			}
		}
		query.Set("cursor", next)
	}
}
