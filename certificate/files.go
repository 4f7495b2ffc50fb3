package certificate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// lookEvery is how often files are looked at while there are handshakes.
const lookEvery = time.Second

// Files are a certificate with its chain, and its key, in PEM. When they change they are read again at the next handshake;
// while what is there cannot be used, because one of them was not replaced yet or by a mistake, the old certificate stays
// in use and the log says why. Open makes one. It may be used concurrently.
type Files struct {
	cert, key string
	log       *zap.Logger

	current atomic.Pointer[tls.Certificate]
	looked  atomic.Int64 // when, in nanoseconds of Unix time

	mu    sync.Mutex // held while files are read
	state state
	fault string // what was logged last
}

// state tells whether files have changed.
type state [2]struct {
	modified time.Time
	size     int64
	inode    uint64 // there are machines on which all files have one time: a link then leads to another one
}

// Open reads the files. Its error names the file, and says what to do.
func Open(cert, key string, log *zap.Logger) (*Files, error) {
	f := &Files{cert: cert, key: key, log: log}
	var err error
	if f.state, err = f.look(); err != nil {
		return nil, err
	}
	f.looked.Store(time.Now().UnixNano())
	return f, f.read()
}

// Certificate is a Source.
func (f *Files) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := time.Now().UnixNano()
	last := f.looked.Load()
	due := now-last >= int64(lookEvery) || now < last // the clock was set back
	if due && f.looked.CompareAndSwap(last, now) {
		f.refresh()
	}
	return f.current.Load(), nil
}

// refresh reads the files when they have changed, or could not be used the last time.
func (f *Files) refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	state, err := f.look()
	if err == nil && state == f.state && f.fault == "" {
		return
	}
	if err == nil {
		f.state, err = state, f.read()
	}
	switch {
	case err == nil:
		f.fault = ""
		f.log.Info("certificate read again", zap.String("file", f.cert), zap.Time("expires", f.current.Load().Leaf.NotAfter))
	case err.Error() != f.fault:
		f.fault = err.Error()
		f.log.Error("the certificate was changed and cannot be used; the one before stays in use", zap.Error(err))
	}
}

func (f *Files) look() (s state, err error) {
	for i, path := range []string{f.cert, f.key} {
		info, err := os.Stat(path)
		if err != nil {
			return s, fmt.Errorf("read the certificate: %w", err)
		}
		s[i].modified, s[i].size = info.ModTime(), info.Size()
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			s[i].inode = stat.Ino
		}
	}
	return s, nil
}

// read takes the files into use, or leaves all as it is with an error.
func (f *Files) read() error {
	cert, err := os.ReadFile(f.cert)
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	key, err := os.ReadFile(f.key)
	if err != nil {
		return fmt.Errorf("read the certificate's key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err == nil {
		err = checkTime(pair.Leaf, time.Now())
	}
	if err != nil {
		return fmt.Errorf("use the certificate in %s with the key in %s: %w", f.cert, f.key, plainer(err))
	}
	f.current.Store(&pair)
	return nil
}

// plainer takes the name of the package off errors of crypto/tls.
func plainer(err error) error {
	const prefix = "tls: "
	if text := err.Error(); len(text) > len(prefix) && text[:len(prefix)] == prefix {
		return errors.New(text[len(prefix):])
	}
	return err
}
