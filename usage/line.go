package usage

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/crc32"
	"strconv"
	"time"

	"apibuilder/store"
)

// A line is how records stood in a file before (decision 64), and stand in what an older program or its backup left: the CRC-32C of the JSON in 8
// hexadecimal digits, a space, the JSON object and a newline.
//
//	8c3c2f6f {"id":"req_1","api":"api_1","version":3,"time":1767323045000000,"method":"GET","path":"/","status":200,...}
const (
	checkDigits = 8
	jsonStart   = ` {"id":"`
)

// entry is a line's JSON object. What is empty or zero was left out.
type entry struct {
	ID        string `json:"id"`
	API       string `json:"api"`
	Version   int    `json:"version"`
	Key       string `json:"key"`
	Time      int64  `json:"time"`
	Method    string `json:"method"`
	Path      string `json:"path"`
	Route     string `json:"route"`
	Node      string `json:"node"`
	Status    int    `json:"status"`
	Error     string `json:"error"`
	In        int64  `json:"in"`
	Out       int64  `json:"out"`
	Duration  int64  `json:"duration"`
	StartWait int64  `json:"start_wait"`
	CPU       int64  `json:"cpu"`
}

// wholeLine returns how long the line is that b begins with; 0: it begins with none. What stands in a text is taken for
// none, because quotes are escaped there.
func wholeLine(b []byte) int {
	if len(b) < checkDigits || !bytes.HasPrefix(b[checkDigits:], []byte(jsonStart)) {
		return 0
	}
	end := bytes.IndexByte(b, '\n')
	sum, err := strconv.ParseUint(string(b[:checkDigits]), 16, 32)
	if end < 0 || err != nil || crc32.Checksum(b[checkDigits+1:end], castagnoli) != uint32(sum) {
		return 0
	}
	return end + 1
}

// decodeLine reads a line that is whole.
func decodeLine(line []byte) (store.Usage, error) {
	var e entry
	if err := json.Unmarshal(line[checkDigits+1:], &e); err != nil {
		return store.Usage{}, errors.Join(errRecord, err)
	}
	return store.Usage{
		ID: e.ID, APIID: e.API, Version: e.Version, KeyID: e.Key, Time: time.UnixMicro(e.Time).UTC(),
		Method: e.Method, Path: e.Path, Route: e.Route, Node: e.Node, Status: e.Status, Error: e.Error, BytesIn: e.In, BytesOut: e.Out,
		Duration: store.Micros(e.Duration), StartWait: store.Micros(e.StartWait), CPU: store.Micros(e.CPU),
	}, nil
}
