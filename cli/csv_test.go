package cli

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"apibuilder/admin"
)

func TestWriteCSV(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7000, time.FixedZone("", 3600))
	var b bytes.Buffer
	err := writeCSV(&b, []admin.UsageRecord{
		{ID: "1", Time: at, Method: "=cmd|'/c calc'!A0", Path: "/a,\"b\"\n", Status: 200, BytesIn: -1, Seconds: 0.25},
		{ID: "2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%v, %v", rows, err)
	}
	cells := map[string]string{}
	for i, name := range rows[0] {
		cells[name] = rows[1][i]
	}
	for name, want := range map[string]string{
		"id": "1", "time": "2026-02-03T03:05:06.000007Z", "method": "'=cmd|'/c calc'!A0", "path": "/a,\"b\"\n", "status": "200",
		"bytes_in": "-1", "seconds": "0.25", "key": "",
	} {
		if cells[name] != want {
			t.Errorf("%s is %q, want %q", name, cells[name], want)
		}
	}
	b.Reset()
	if err := writeCSV[admin.UsageSum](&b, nil); err != nil || !strings.HasPrefix(b.String(), "start,api,key,user,route,requests,") {
		t.Errorf("%q, %v", b.String(), err)
	}
}
