package cli

import (
	"context"
	"errors"
	"os"
	"time"

	"go.uber.org/zap"

	"apibuilder/admin"
	"apibuilder/handover"
)

// holder hands this server on to a successor. It implements handover.Holder.
type holder struct {
	*server
	door *admin.RootListener // where successors come
	life context.Context     // ends when the server stops
}

// thawPause is between attempts to take changes again.
const thawPause = time.Second

// offerPatience is what a successor is let wait for this server's own predecessor: less than it waits for an answer (package handover), so that
// it hears why.
const offerPatience = 2 * time.Minute

// openSuccessor lets a successor come. A server that has taken over goes on without: nobody else serves by now.
func (s *server) openSuccessor(context.Context) error {
	listener, err := admin.ListenRoot(s.data.path, handoverSocket)
	if err != nil && s.predecessor.left {
		s.log.Error("nobody can take over from this server: stop it and start it, to replace it", zap.Error(err))
		return nil
	}
	if err != nil {
		return err
	}
	life, end := context.WithCancel(context.Background())
	giver := handover.Give(listener, holder{s, listener, life})
	s.onStop("handing on", func(context.Context) error {
		end()
		return giver.Close()
	})
	return nil
}

// Offer waits until this server's own predecessor is gone: there are two seats.
func (h holder) Offer(ctx context.Context) (handover.Offer, error) {
	timer := time.NewTimer(offerPatience)
	defer timer.Stop()
	select {
	case <-h.alone:
	case <-ctx.Done():
		return handover.Offer{}, ctx.Err()
	case <-timer.C:
		return handover.Offer{}, errors.New("the server that it took over from has not ended yet, or usage that it left waits for the database: " +
			"try again when its drain timeout is over")
	}
	offer := handover.Offer{Seat: int(h.seat), PID: os.Getpid()}
	lock, err := h.data.share()
	if err != nil {
		return offer, err
	}
	offer.Sockets = append(offer.Sockets, handover.Socket{Name: lockSocket, File: lock})
	for _, b := range h.bound {
		socket, err := b.file()
		if err != nil {
			offer.Close()
			return handover.Offer{}, err
		}
		offer.Sockets = append(offer.Sockets, socket)
	}
	return offer, nil
}

// Freeze ends the management API, deploys under way with it, and the following of a database's rows.
func (h holder) Freeze(ctx context.Context) error {
	h.log.Info("another server takes over: no more changes here")
	return h.closeControl(context.WithoutCancel(ctx)) // it takes no longer than stopTimeout, and what is half closed cannot be waited for again
}

// Thaw takes changes again. It tries until it can, because consumers are served meanwhile: the other server may have failed for what
// this one lacks as well, a database for instance.
func (h holder) Thaw() {
	h.log.Warn("the server that was to take over has failed; this one goes on")
	h.refresh() // it may have let operators in already
	for {
		err := h.openControl(h.life)
		if err == nil || h.life.Err() != nil {
			return
		}
		h.log.Error("no changes are taken yet after a take-over that failed", zap.Error(errors.Join(err, h.closeControl(context.WithoutCancel(h.life)))))
		if pause(h.life, thawPause) != nil {
			return
		}
	}
}

// Leave has the server stop as it does on SIGTERM, but that its sockets live on.
func (h holder) Leave() {
	h.log.Info("another server has taken over; draining", zap.Int("pid", os.Getpid()))
	h.beat.Halt() // what the node says of itself is the successor's to say
	h.local.Keep()
	h.door.Keep() // the successor makes its own in its place
	close(h.succeeded)
}
