package cli

import (
	"context"

	"apibuilder/adopt"
	"apibuilder/store/postgres"
)

// openFollowing takes over the table of the replaced platform, where the database has one.
func (s *server) openFollowing(ctx context.Context) error {
	database, ok := s.database.(*postgres.Store)
	if !ok || database.Rows() == nil {
		return nil
	}
	follower := adopt.New(adopt.Config{
		Rows: database.Rows(), Store: s.store, Deployer: s.deployer, End: s.manager.Remove, Log: s.log.Named("adopt"),
	})
	s.control.onStop("following of table apis", follower.Stop)
	return follower.Start(ctx)
}
