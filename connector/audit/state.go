package audit

import (
	"bufio"
	"crypto/sha256"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// saved is an audit that was interrupted.
type saved struct {
	Form    int
	Of      Hash // of the configuration
	Plan    *plan
	Streams []*stream
	Ledger  *ledger
}

// savedForm changes with whatever a saved state is made of.
const savedForm = 2

// fingerprint is of what a state has to agree with its configuration in: all that
// decides on what is read and kept.
func (c Config) fingerprint() Hash {
	data, _ := json.Marshal(struct { // of texts, numbers and times nothing can fail
		Topics                        Topics
		Group                         string
		From, To, Until               int64
		Offsets                       []OffsetSpan
		Skew, NotAfter, LateTolerance time.Duration
		MaxFindings                   int
		Pins                          *pins
	}{
		c.Topics, c.Group, c.From.UnixMilli(), c.To.UnixMilli(), c.AnswersUntil.UnixMilli(), c.sortedOffsets(),
		c.Skew, c.NotAfter, c.LateTolerance, c.MaxFindings, c.pins,
	})
	return sha256.Sum256(data)
}

// interrupted saves the state where there is a file for it and what has stopped the
// run is not in the run itself, and returns why. After another error the same command
// is to begin anew: by then the topics have gone on.
func (j *join) interrupted(why error) error {
	if code := CodeOf(why); j.cfg.State == "" || code != CodeInterrupted && code != CodeKafka {
		if err := j.discard(); err != nil {
			return errors.Join(why, err)
		}
		return why
	}
	if err := j.save(); err != nil {
		return errors.Join(why, err)
	}
	return why
}

// save writes the state beside its place and moves it there, so that there is a
// whole one or none.
func (j *join) save() (err error) {
	failed := func(err error) error { return &Error{Code: CodeState, Err: fmt.Errorf("save the state: %w", err)} }
	file, err := os.CreateTemp(filepath.Dir(j.cfg.State), filepath.Base(j.cfg.State)+".")
	if err != nil {
		return failed(err)
	}
	defer func() {
		if err != nil {
			err = failed(errors.Join(err, os.Remove(file.Name())))
		}
	}()
	out := bufio.NewWriterSize(file, 1<<20)
	err = gob.NewEncoder(out).Encode(saved{Form: savedForm, Of: j.cfg.fingerprint(), Plan: j.plan, Streams: j.streams, Ledger: j.ledger})
	if err = errors.Join(err, out.Flush(), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), j.cfg.State)
}

// resume takes up a saved state, and says whether there was one.
func (j *join) resume() (bool, error) {
	if j.cfg.State == "" {
		return false, nil
	}
	file, err := os.Open(j.cfg.State)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &Error{Code: CodeState, Err: err}
	}
	defer func() { _ = file.Close() }()
	var s saved
	if err := gob.NewDecoder(bufio.NewReaderSize(file, 1<<20)).Decode(&s); err != nil {
		return false, &Error{Code: CodeState, Err: fmt.Errorf("%s is no state of an audit: %w", j.cfg.State, err)}
	}
	if s.Form != savedForm || s.Of != j.cfg.fingerprint() {
		return false, &Error{Code: CodeState, Err: fmt.Errorf("%s is of another audit or release: remove it to begin anew", j.cfg.State)}
	}
	j.plan, j.streams, j.ledger = s.Plan, s.Streams, s.Ledger
	return true, nil
}

// discard removes the state of a run that is done.
func (j *join) discard() error {
	if j.cfg.State == "" {
		return nil
	}
	if err := os.Remove(j.cfg.State); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &Error{Code: CodeState, Err: err}
	}
	return nil
}
