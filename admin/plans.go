package admin

import (
	"context"
	"errors"
	"net/http"

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

func (s *Server) listPlans(_ http.ResponseWriter, r *http.Request) (any, error) {
	plans, err := s.store.Plans(r.Context())
	return each(plans, planOut), err
}

func (s *Server) putPlan(w http.ResponseWriter, r *http.Request) (any, error) {
	return s.changePlan(w, r, store.Plan{Name: r.PathValue("plan")})
}

func (s *Server) patchPlan(w http.ResponseWriter, r *http.Request) (any, error) {
	plan, err := s.store.Plan(r.Context(), r.PathValue("plan"))
	if errors.Is(err, store.ErrNotFound) {
		return s.putPlan(w, r)
	}
	if err != nil {
		return nil, err
	}
	return s.changePlan(w, r, plan)
}

func (s *Server) changePlan(w http.ResponseWriter, r *http.Request, plan store.Plan) (any, error) {
	var body PlanPatch
	if err := decode(w, r, maxBody, &body); err != nil {
		return nil, err
	}
	if err := store.ValidName(plan.Name); err != nil {
		return nil, badRequest(err.Error(), "choose another name")
	}
	if body.Rate != nil {
		rate, err := rateIn(body.Rate)
		if err != nil {
			return nil, err
		}
		plan.Rate = rate
	}
	if body.Quota != nil {
		plan.Quota = *body.Quota
		if err := checkQuota(plan.Quota); err != nil {
			return nil, err
		}
	}
	body.Limits.apply(&plan.Limits)
	body.Ceiling.apply(&plan.Ceiling)
	body.Instances.apply(&plan.Instances)
	if plan.Instances.Max < 0 || plan.Instances.Min < 0 {
		return nil, badRequest("a number of instances is negative", "give numbers from 1, or 0 for no bound")
	}
	if err := checkPlanLimits(plan); err != nil {
		return nil, err
	}
	return planOut(plan), s.store.PutPlan(r.Context(), plan)
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
