package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"apibuilder/deploy"
	"apibuilder/store"
)

// planOf reads the plan of a user.
func (s *Server) planOf(ctx context.Context, userID string) (store.Plan, error) {
	user, err := s.store.User(ctx, userID)
	if err != nil {
		return store.Plan{}, err
	}
	return s.store.Plan(ctx, user.Plan)
}

func (s *Server) listPlans(w http.ResponseWriter, r *http.Request) (any, error) {
	plans, err := s.store.Plans(r.Context())
	if err != nil {
		return nil, err
	}
	plans = slices.DeleteFunc(plans, func(p store.Plan) bool { return !strings.Contains(p.Name, r.URL.Query().Get("name")) })
	return pageOf(w, r, "plans", plans, func(p store.Plan) []string { return []string{p.Name} }, planOut)
}

func (s *Server) putPlan(w http.ResponseWriter, r *http.Request) (any, error) {
	return s.changePlan(w, r, func(store.Plan) store.Plan { return store.Plan{} })
}

func (s *Server) patchPlan(w http.ResponseWriter, r *http.Request) (any, error) {
	return s.changePlan(w, r, func(now store.Plan) store.Plan { return now })
}

// changePlan applies the body to what start makes of the plan as it is.
func (s *Server) changePlan(w http.ResponseWriter, r *http.Request, start func(store.Plan) store.Plan) (any, error) {
	var body PlanPatch
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	name := r.PathValue("plan")
	if err := store.ValidName(name); err != nil {
		return nil, badRequest(err.Error(), "choose another name")
	}
	condition, err := conditionOf(r)
	if err != nil {
		return nil, err
	}
	plan, err := s.store.ChangePlan(r.Context(), name, func(now store.Plan, there bool) (store.Plan, error) {
		if err := condition.check(there, tagOf(now)); err != nil {
			return now, err
		}
		return body.apply(start(now))
	})
	if err != nil {
		return nil, err
	}
	return tagged{planOut(plan), tagOf(plan)}, nil
}

func (s *Server) showPlan(_ http.ResponseWriter, r *http.Request) (any, error) {
	plan, err := s.store.Plan(r.Context(), r.PathValue("plan"))
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound(fmt.Sprintf("there is no plan %q", r.PathValue("plan")), "see `apibuilder plans list`")
	}
	return tagged{planOut(plan), tagOf(plan)}, err
}

// apply returns a plan with what the patch names.
func (body PlanPatch) apply(plan store.Plan) (store.Plan, error) {
	if body.Rate != nil {
		rate, err := rateIn(body.Rate)
		if err != nil {
			return plan, err
		}
		plan.Rate = rate
	}
	if body.Quota != nil {
		plan.Quota = *body.Quota
		if err := checkQuota(plan.Quota); err != nil {
			return plan, err
		}
	}
	body.Limits.apply(&plan.Limits)
	body.Ceiling.apply(&plan.Ceiling)
	body.Instances.apply(&plan.Instances)
	if plan.Instances.Max < 0 || plan.Instances.Min < 0 {
		return plan, badRequest("a number of instances is negative", "give numbers from 1, or 0 for no bound")
	}
	return plan, checkPlanLimits(plan)
}

func (p LimitsPatch) apply(to *store.Limits) {
	if p.MemoryBytes != nil {
		to.MemoryBytes = *p.MemoryBytes
	}
	if p.CPU != nil {
		to.CPU = *p.CPU
	}
	if p.Pids != nil {
		to.Pids = *p.Pids
	}
}

func (p InstancesPatch) apply(to *store.Instances) {
	if p.Max != nil {
		to.Max = *p.Max
	}
	if p.Min != nil {
		to.Min = *p.Min
	}
}

// checkPlanLimits refuses what no sandbox can have, and a plan that gives more than it allows.
func checkPlanLimits(plan store.Plan) error {
	for _, limits := range []store.Limits{plan.Limits, plan.Ceiling} {
		if err := deploy.CheckLimits(limits); err != nil {
			return err
		}
	}
	err := (deploy.Policy{}).Check(plan, plan.Limits)
	if above, ok := errors.AsType[*deploy.Error](err); ok {
		return badRequest(above.Message, "change the plan's limit or its ceiling")
	}
	return err
}
