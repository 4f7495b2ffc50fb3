package adopt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"go.uber.org/zap"

	"apibuilder/deploy"
	"apibuilder/store"
)

var (
	validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`)
	// likeID is a name that is the id of some row sooner or later, where ids are numbers or UUIDs.
	likeID = regexp.MustCompile(`^([0-9]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)
)

// isOwn reports whether an id is that of an API that was deployed here. A row that had it would have that API.
func isOwn(id string) bool { return store.IsNewID("api", id) }

// usableID returns nil for an id that can be in a path, in a URL and on disk, and is none that APIs get here.
func usableID(id string) error {
	switch {
	case !validID.MatchString(id):
		return fmt.Errorf("the id %.40q cannot be part of an address: use letters, digits, - and _, 128 at most", id)
	case isOwn(id):
		return fmt.Errorf("the id %.40q looks like one that this server gives to its own APIs: use another", id)
	}
	return nil
}

// request is the deploy of a row. What the row does not say stays as the serving version has it.
func request(row store.Row, serving store.Version, name string) deploy.Request {
	if name == "" {
		name = "checked"
	}
	return deploy.Request{
		Name: name, Code: row.Code, Requirements: row.Requirements,
		Python: serving.Python, Env: serving.Env, Limits: serving.Limits,
	}
}

// find returns the API of a row; not one that merely has the row's id for a name.
func (f *Follower) find(ctx context.Context, id string) (store.API, error) {
	api, err := f.Store.API(ctx, id)
	if err == nil && api.ID != id {
		return store.API{}, fmt.Errorf("api %q: %w", id, store.ErrNotFound)
	}
	return api, err
}

// claim returns the API of a row, and makes it where there is none. Its name resembles the row's. An ErrConflict says that the row's id is
// the name of another API, which was there first.
func (f *Follower) claim(ctx context.Context, row store.Row) (store.API, error) {
	api, err := f.find(ctx, row.ID)
	if !errors.Is(err, store.ErrNotFound) {
		return api, err
	}
	names, err := f.names(ctx, row)
	if err != nil {
		return store.API{}, err
	}
	for _, name := range names {
		api, err = f.Store.CreateAPI(ctx, store.API{ID: row.ID, Name: name, UserID: store.OperatorID})
		if !errors.Is(err, store.ErrConflict) {
			return api, err
		}
	}
	switch other, missing := f.Store.API(ctx, row.ID); {
	case missing == nil && other.ID == row.ID: // another node made it meanwhile
		return other, nil
	case missing == nil:
		return store.API{}, fmt.Errorf("%w: the id %q is the name of the API %s: delete that, or give the row another id",
			store.ErrConflict, row.ID, other.ID)
	}
	return store.API{}, err
}

// names are those that an API of a row may get, the best one first. None is the id of another row: whoever chooses names there would
// have that one's address.
func (f *Follower) names(ctx context.Context, row store.Row) ([]string, error) {
	best := row.Name
	if best == "" {
		best = row.ID
	}
	best = store.SuggestName(best)
	sum := sha256.Sum256([]byte(row.ID))
	others := []string{
		store.SuggestName(fmt.Sprintf("%.54s-%s", best, hex.EncodeToString(sum[:4]))),
		store.SuggestName(store.NewID("row")), // where somebody else has foreseen that one
	}
	if best == row.ID {
		return append([]string{best}, others...), nil
	}
	if likeID.MatchString(best) {
		return others, nil
	}
	same, err := f.Rows.Read(ctx, []string{best})
	if err != nil || len(same) > 0 {
		return others, err
	}
	return append([]string{best}, others...), nil
}

// inherit takes a row over as it is, and reports whether it could: where another content serves, the row has to take a turn.
// A crash between its steps leaves a version too many, no more.
func (f *Follower) inherit(ctx context.Context, row store.Row) (bool, error) {
	api, err := f.claim(ctx, row)
	if err == nil && api.ActiveVersion != 0 && (api.CodeSnapshot != row.Code || api.Requirements != row.Requirements) {
		return false, nil
	}
	if err == nil && api.ActiveVersion == 0 {
		var before, v store.Version
		if before, err = deploy.LastReady(ctx, f.Store, api); err != nil {
			return false, err
		}
		v, err = f.Store.AddVersion(ctx, store.Version{
			APIID: api.ID, Code: row.Code, Requirements: row.Requirements, State: store.VersionReady,
			Python: before.Python, Env: before.Env, Limits: before.Limits,
			Detail: "taken over as it was, without being started",
		})
		if err == nil {
			err = f.Store.Activate(ctx, api.ID, v.Number)
		}
	}
	if err == nil {
		err = f.Rows.Take(ctx, row.ID, store.Followed{Stamp: row.Stamp})
		f.followed[row.ID] = store.Followed{Stamp: row.Stamp}
	}
	return true, err
}

// replace brings the newest content of a row to traffic, or notes why not.
func (f *Follower) replace(ctx context.Context, id string) error {
	rows, err := f.Rows.Read(ctx, []string{id})
	if err != nil || len(rows) == 0 { // gone meanwhile: the next look sees to it
		return err
	}
	row := rows[0]
	notes, err := f.Rows.Followed(ctx, id)
	if err != nil {
		return err
	}
	if note, ok := notes[id]; ok && note.Stamp == row.Stamp { // it was deployed by way of us, which wrote to their row
		f.note(id, note)
		return nil
	}
	if bad := usableID(id); bad != nil {
		f.Log.Warn("a row of table apis cannot be served", zap.Error(bad))
		if isOwn(id) {
			return f.forget(ctx, id) // a note would be of somebody else's API
		}
		return f.take(ctx, row, bad.Error())
	}
	if !row.Active {
		return f.suspend(ctx, row)
	}
	api, err := f.claim(ctx, row)
	if err != nil {
		return err
	}
	problem, err := f.deploy(ctx, api, row, func(ctx context.Context) error { return f.still(ctx, id, notes[id]) })
	if err != nil {
		return err
	}
	return f.take(ctx, row, problem)
}

// still returns an error when another node has followed a row since it was noted as before, or is the one that does now: what this one
// deploys may be older.
func (f *Follower) still(ctx context.Context, id string, before store.Followed) error {
	lead, err := f.Rows.Lead(ctx)
	if err != nil {
		return err
	}
	notes, err := f.Rows.Followed(ctx, id)
	if err != nil {
		return err
	}
	if !lead || notes[id] != before {
		return &deploy.Error{Reason: deploy.Canceled, Message: "another server follows this row by now"}
	}
	return nil
}

// deploy returns what the row's author has to mend, or an error when it was not the author's fault.
func (f *Follower) deploy(
	ctx context.Context, api store.API, row store.Row, still func(context.Context) error,
) (problem string, err error) {
	serving, err := deploy.LastReady(ctx, f.Store, api)
	if err != nil {
		return "", err
	}
	r := request(row, serving, api.ID)
	r.Still = still
	result, err := f.Deployer.Deploy(ctx, r)
	if err == nil {
		f.Log.Info("a row of table apis changed and serves", zap.String("api", api.ID), zap.Int("version", result.Version))
		return "", nil
	}
	mistake, ok := errors.AsType[*deploy.Error](err)
	if !ok || slices.Contains(deploy.Passing, mistake.Reason) {
		return "", err
	}
	f.Log.Warn("a row of table apis changed and does not serve; what served before goes on", zap.String("api", api.ID),
		zap.String("reason", mistake.Reason), zap.String("message", mistake.Message))
	if mistake.Reason != deploy.InvalidRequest && mistake.Reason != deploy.AboveCeiling {
		return mistake.Error(), nil // its version is there, as failed
	}
	_, err = f.Store.AddVersion(ctx, store.Version{
		APIID: api.ID, Code: row.Code, Requirements: row.Requirements, State: store.VersionFailed,
		Failure: mistake.Reason, Detail: mistake.Error(),
	})
	return mistake.Error(), err
}

// suspend takes a row's API out of service; its keys and versions stay.
func (f *Follower) suspend(ctx context.Context, row store.Row) error {
	_, err := f.find(ctx, row.ID)
	if err == nil {
		err = f.Rows.Suspend(ctx, row.ID)
		if err == nil {
			err = f.End(ctx, row.ID)
		}
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return f.take(ctx, row, "")
}

// remove deletes the API of a row that is gone, unless it is back: the turn may have had to wait.
func (f *Follower) remove(ctx context.Context, id string) error {
	marks, all, err := f.Rows.Marks(ctx)
	if _, back := marks[id]; err != nil || back || !all {
		return err
	}
	if isOwn(id) { // from when such rows were followed
		return f.forget(ctx, id)
	}
	_, err = f.find(ctx, id)
	if err == nil {
		_, err = f.Deployer.Delete(ctx, id)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	f.Log.Info("a row of table apis is gone, and its API with it", zap.String("id", id))
	return f.forget(ctx, id)
}

// forget ends the following of a row.
func (f *Follower) forget(ctx context.Context, id string) error {
	if err := f.Rows.Forget(ctx, id); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.followed, id)
	return nil
}
