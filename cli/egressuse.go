package cli

import (
	"context"
	"errors"

	"apibuilder/egress"
	"apibuilder/metrics"
	"apibuilder/python-env"
	"apibuilder/store"
	"apibuilder/usage"
)

// openEgressSums has the store keep what programs and builds reach, and what they are refused.
func (s *server) openEgressSums() {
	s.egressSums = usage.NewEgress(s.store, func() (uses []store.EgressUse) {
		for _, u := range append(s.manager.EgressUses(), s.host.builder.EgressUses()...) {
			uses = append(uses, egressUse(u))
		}
		return uses
	}, s.log.Named("usage"))
	s.egressSums.Start()
	s.onStop("sums of outgoing network", s.egressSums.Stop)
}

func egressUse(u egress.Use) store.EgressUse {
	return store.EgressUse{APIID: u.API, To: u.To, Connections: u.Connections, Sent: u.Sent, Received: u.Received, Refused: u.Refused}
}

// flushUsage brings everything that is counted into the store.
func (s *server) flushUsage(ctx context.Context) error {
	return errors.Join(s.journal.Flush(ctx), s.egressSums.Flush(ctx))
}

// eachEgress tells what every API's programs, and builds, reached since the server started.
func (s *server) eachEgress(each func(metrics.Egress)) {
	reports := map[string]egress.Report{pythonenv.Egress: s.host.builder.Reached()}
	for _, api := range s.manager.EgressAPIs() {
		reports[api] = s.manager.Egress(api)
	}
	for api, report := range reports {
		e := metrics.Egress{API: api, Open: report.Open}
		for _, d := range report.Destinations {
			e.Destinations = append(e.Destinations, metrics.Destination{
				To: d.To, Connections: d.Connections, Sent: d.Sent, Received: d.Received, Refused: d.Refused,
			})
		}
		each(e)
	}
}
