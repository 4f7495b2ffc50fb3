package gateway_test

import "testing"

func TestAnswered(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nServer: a\r\nContent-Length: 4\r\nDate: b\r\n\r\n"
	for text, want := range map[string]struct{ whole, fails bool }{
		"": {}, "HTTP/1.1 200": {}, head: {}, head + "bod": {},
		head + "body":      {whole: true},
		head + "body?":     {fails: true},
		"nonsense\r\n\r\n": {fails: true},
		"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n":    {fails: true},
		"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n":                   {whole: true},
		"HTTP/1.1 200 OK\r\ncontent-length: no\r\n\r\n":                  {fails: true},
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n": {fails: true},
	} {
		if whole, err := answered([]byte(text)); whole != want.whole || (err != nil) != want.fails {
			t.Errorf("%q: %v, %v", text, whole, err)
		}
	}
}
