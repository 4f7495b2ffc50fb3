// Package check reads the alert rules and the dashboard with Prometheus' own parsers. It is a module of its own, so that the
// server does not depend on Prometheus.
package check

import (
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func TestAlerts(t *testing.T) {
	groups, errs := rulefmt.ParseFile("../alerts.yml", false, model.UTF8Validation, parser.NewParser(parser.Options{}),
		slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil || len(groups.Groups) == 0 || len(groups.Groups[0].Rules) == 0 {
		t.Error("there are no rules")
	}
}

func TestDashboard(t *testing.T) {
	page, err := os.ReadFile("../dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(page, &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Panels) == 0 {
		t.Fatal("there are no panels")
	}
	fill := strings.NewReplacer("$__rate_interval", "5m", "$api", ".*") // as Grafana does
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			if _, err := parser.NewParser(parser.Options{}).ParseExpr(fill.Replace(target.Expr)); err != nil {
				t.Errorf("%s: %s: %v", p.Title, target.Expr, err)
			}
		}
	}
}
