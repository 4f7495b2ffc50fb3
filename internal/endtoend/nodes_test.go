package endtoend

import (
	"encoding/json"
	"flag"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	nodeRequests = flag.Int("nodes-requests", 3000, "requests against a limit over several nodes")
	nodeOutage   = flag.Duration("nodes-outage", 3*time.Second, "how long the database of several nodes is away")
)

func TestNodesBehindAProxy(t *testing.T) {
	var limited, plain, metered deployed
	c := newCluster(t, func(first *server) {
		metered = first.deploy("metered", versioned("v1"), "", "--set", "quota="+strconv.Itoa(nodeQuota()))
		limited = first.deploy("limited", versioned("v1"), "", "--rate", "200/2s")
		plain = first.deploy("plain", versioned("v1"), "", "--rate", "1000000/s")
	})
	limitedPath, plainPath := "/run/"+limited.ID+"/", "/run/"+plain.ID+"/"
	nodes := map[string]bool{}
	out, err := c.nodes[1].command("nodes", "list", "--json")
	var list []struct{ Name, Address string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	for _, n := range list {
		nodes[n.Name+" "+n.Address] = true
	}
	if err != nil || len(nodes) != 3 || !nodes["node3 10.0.0.13:8080"] {
		t.Fatalf("the nodes are %s, %v", out, err)
	}
	says := func(text string) func(attempt, string) bool {
		return func(a attempt, body string) bool { return a.status == 200 && strings.Contains(body, text) }
	}
	c.everywhere("the first version", limitedPath, limited.Key, says("v1"))
	c.everywhere("the first version", plainPath, plain.Key, says("v1"))

	// What one node is told is in force on all.
	began := time.Now()
	c.nodes[0].deploy("plain", versioned("v2"), "")
	took := time.Since(began)
	t.Logf("a deploy took %v, and was in force on all nodes %v after that", took, c.everywhere("a deploy", plainPath, plain.Key, says("v2")))
	if _, err := c.nodes[1].command("rollback", "plain"); err != nil {
		t.Fatal(err)
	}
	t.Logf("a rollback: %v", c.everywhere("a rollback", plainPath, plain.Key, says("v1")))
	out, err = c.nodes[1].command("keys", "create", "--api", "plain", "--json")
	var key struct{ ID, Secret string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &key)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.everywhere("a key", plainPath, key.Secret, says("v1"))
	if _, err := c.nodes[2].command("keys", "revoke", "--api", "plain", key.ID); err != nil {
		t.Fatal(err)
	}
	took = c.everywhere("a revoked key", plainPath, key.Secret, func(a attempt, _ string) bool { return a.status == 401 })
	t.Logf("a revoked key: %v", took)

	// What nobody calls falls asleep after the time that passes, also where the clock is set back meanwhile.
	c.call("10.0.0.13:8080"+plainPath, plain.Key)
	c.clocks[2].Set(-2 * time.Hour)
	eventually(t, "sleep under a clock that was set back", func() bool { return len(c.nodes[2].showAPI("plain").Instances) == 0 })
	c.clocks[2].Set(-time.Hour)

	finished := c.killNodes(limitedPath, limited.Key)
	finished = append(finished, c.useUpQuota("/run/"+metered.ID+"/", metered.Key)...)
	finished = append(finished, c.stopDatabase(plainPath, plain.Key)...)
	for i := range c.nodes {
		c.nodes[i].stop()
	}
	c.checkRecords(finished)
	c.checkMonths(metered.ID)
	// Their own clocks are in the records: without this the rest would prove nothing about clocks.
	if shifts := count(t, c.url, `SELECT count(DISTINCT round((extract(epoch FROM clock_timestamp()) - time / 1000000) / 3600)) FROM apibuilder_usage
		WHERE api_id = $1`, limited.ID); shifts < 3 {
		t.Errorf("the nodes' records are of %d different hours: their clocks were not set", shifts)
	}
}

// killNodes sends requests to a limit while nodes die and come back and clocks are set, and checks every span of them.
func (c *cluster) killNodes(path, key string) []attempt {
	t := c.t
	t.Helper()
	step := func(by ...time.Duration) func() {
		return func() {
			for i, d := range by {
				c.clocks[i].Set(d)
			}
		}
	}
	events := []func(){
		step(-time.Hour, 0, time.Hour),
		func() { c.nodes[1].kill() }, func() { c.start(1) }, func() { c.nodes[2].kill() }, // a node is lost,
		step(0, time.Hour, 0),
		func() { c.nodes[0].kill() }, func() { c.start(0) }, func() { c.start(2) }, // and one is added
		step(time.Hour, -30*time.Minute, -time.Hour),
	}
	var happening sync.WaitGroup
	var busy atomic.Bool // one event after the other
	next := 0
	all := c.load(path, key, 8, func(done int) bool {
		if busy.Load() {
			return false
		}
		if next < len(events) && done >= (next+1)**nodeRequests/(len(events)+2) {
			busy.Store(true)
			event := events[next]
			next++
			happening.Go(func() {
				event()
				busy.Store(false)
			})
		}
		return next == len(events) && done >= *nodeRequests && !busy.Load()
	})
	happening.Wait()
	counts, lost := map[int]int{}, 0
	var admitted []attempt
	for _, a := range all {
		counts[a.status]++
		if a.id == "" {
			lost++
		}
		if a.status == 200 {
			admitted = append(admitted, a)
		}
	}
	span := spanOf(all)
	most := 200 + int(span/(10*time.Millisecond))
	t.Logf("%d requests in %v, by status %v; %d of at most %d admitted", len(all), span.Round(time.Millisecond), counts, len(admitted), most)
	checkSpans(t, admitted, 200, 10*time.Millisecond)
	// Those that a node that died had begun, and more when the next one dies before HAProxy has found that one is back.
	t.Logf("%d requests were answered by no node", lost)
	if least := int(reached(all)/(10*time.Millisecond)) / 4; len(admitted) < least {
		t.Errorf("only %d requests were admitted, and the nodes were there for %d", len(admitted), 4*least)
	}
	for i, n := range c.nodes {
		if strings.Contains(n.stderr.String(), "limits cannot be counted") {
			t.Logf("node %d did without the database for a time", i+1)
		}
	}
	return all
}

// spanOf is the time from the first request to the last answer.
func spanOf(all []attempt) time.Duration {
	first, last := all[0].sent, all[0].received
	for _, a := range all {
		if a.received.After(last) {
			last = a.received
		}
		if a.sent.Before(first) {
			first = a.sent
		}
	}
	return last.Sub(first)
}

// reached is for how long some node could be reached: without the time from one node's last answer to another one's first when all had
// died, which can be long on a busy machine.
func reached(all []attempt) time.Duration {
	var answers []time.Time
	for _, a := range all {
		if a.id != "" {
			answers = append(answers, a.received)
		}
	}
	slices.SortFunc(answers, time.Time.Compare)
	var there time.Duration
	for i := 1; i < len(answers); i++ {
		if gap := answers[i].Sub(answers[i-1]); gap < 200*time.Millisecond {
			there += gap
		}
	}
	return there
}

// untilMiddle is how wrong a clock is that is in the middle of this month, and one that is in the middle of the next: nothing depends on how far
// the month is.
func untilMiddle() (this, next time.Duration) {
	now := time.Now().UTC()
	year, month, _ := now.Date()
	return time.Date(year, month, 15, 0, 0, 0, 0, time.UTC).Sub(now), time.Date(year, month+1, 15, 0, 0, 0, 0, time.UTC).Sub(now)
}

// nodeQuota is how many requests a month the quota admits.
func nodeQuota() int { return min(*nodeRequests/10, 2000) }

// useUpQuota sends four times as many requests as a monthly quota admits. To one node it is the next month already, and to another one
// when it comes back after it was killed.
func (c *cluster) useUpQuota(path, key string) []attempt {
	t := c.t
	t.Helper()
	quota := nodeQuota()
	this, next := untilMiddle()
	for i, by := range []time.Duration{this, this, next} {
		c.clocks[i].Set(by)
	}
	c.everywhere("the program", path, key, func(a attempt, _ string) bool { return a.status == 200 || a.status == 429 })
	killed := make(chan struct{})
	var once sync.Once
	all := c.load(path, key, 8, func(done int) bool {
		if done < quota/2 {
			return false
		}
		once.Do(func() {
			go func() {
				defer close(killed)
				c.nodes[1].kill()
				c.clocks[1].Set(next)
				c.start(1)
			}()
		})
		select {
		case <-killed:
			return done >= 4*quota
		default:
			return false
		}
	})
	statuses := map[int]int{}
	for _, a := range all {
		statuses[a.status]++
	}
	t.Logf("%d requests against a quota of %d over two months, by status %v", len(all), quota, statuses)
	if statuses[429] == 0 {
		t.Error("no request was refused")
	}
	return all
}

// checkMonths looks at the records: of neither month was more admitted than the quota, and not much less, which is what the killed node
// had taken in advance.
func (c *cluster) checkMonths(apiID string) {
	t := c.t
	t.Helper()
	quota := int64(nodeQuota())
	const admitted = `(SELECT count(*) AS n FROM apibuilder_usage WHERE api_id = $1 AND NOT (status = 429 AND error <> '')
		GROUP BY date_trunc('month', to_timestamp(time / 1000000) AT TIME ZONE 'UTC')) AS months`
	months := count(t, c.url, `SELECT count(*) FROM `+admitted, apiID)
	least, most := count(t, c.url, `SELECT min(n) FROM `+admitted, apiID), count(t, c.url, `SELECT max(n) FROM `+admitted, apiID)
	t.Logf("admitted in %d months of a quota of %d: %d to %d", months, quota, least, most)
	if months != 2 || most > quota || least < quota*3/4 {
		t.Errorf("%d to %d requests were admitted in each of %d months, of a quota of %d", least, most, months, quota)
	}
}

// checkSpans looks at every span between the sending of one request and the answer to another. What was sent and answered in it
// was admitted in it: no more than a burst and what came back meanwhile.
func checkSpans(t *testing.T, admitted []attempt, burst int, step time.Duration) {
	t.Helper()
	slices.SortFunc(admitted, func(a, b attempt) int { return a.received.Compare(b.received) })
	starts := len(admitted)
	for i := 0; i < len(admitted); i += max(1, starts/2000) {
		from, count := admitted[i].sent, 0
		for _, a := range admitted {
			if a.sent.Before(from) {
				continue
			}
			count++
			if span := a.received.Sub(from); count > burst+int(span/step) {
				t.Fatalf("%d requests were admitted in %v", count, span)
			}
		}
	}
}

// stopDatabase stops PostgreSQL under load: no request of a known API fails.
func (c *cluster) stopDatabase(path, key string) []attempt {
	t := c.t
	t.Helper()
	// The node that came back last may not have been asked for it yet, and cannot learn of a key without the database.
	c.everywhere("the program", path, key, func(a attempt, _ string) bool { return a.status == 200 })
	stopped := make(chan struct{})
	var once sync.Once
	var back time.Time
	began := time.Now()
	all := c.load(path, key, 4, func(done int) bool {
		if done < 200 {
			return false
		}
		once.Do(func() {
			go func() {
				defer close(stopped)
				c.db.Stop()
				time.Sleep(*nodeOutage) // the outage has no other end
				if err := c.db.Start(); err != nil {
					t.Error(err)
				}
				back = time.Now()
			}()
		})
		select {
		case <-stopped:
			return time.Since(back) > 3*time.Second
		default:
			return false
		}
	})
	failed := 0
	for _, a := range all {
		if a.status != 200 {
			failed++
		}
	}
	t.Logf("%d requests in %v, %v of them without the database; %d failed", len(all), time.Since(began).Round(time.Second), *nodeOutage, failed)
	if failed > 0 {
		t.Errorf("%d of %d requests failed while the database was away", failed, len(all))
	}
	return all
}

// checkRecords looks for the record of each request that a node answered. Their ids are unique in the table.
func (c *cluster) checkRecords(all []attempt) {
	t := c.t
	t.Helper()
	var ids []string
	for _, a := range all {
		if a.id != "" {
			ids = append(ids, a.id)
		}
	}
	raw, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	found := count(t, c.url, "SELECT count(*) FROM apibuilder_usage WHERE id IN (SELECT jsonb_array_elements_text($1::jsonb))", string(raw))
	if found != int64(len(ids)) {
		t.Errorf("%d of %d requests that were answered have their record", found, len(ids))
	}
	t.Logf("%d requests were answered, each has one record", len(ids))
}
