package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/warren-mesh/warren/controller/report"
	"github.com/warren-mesh/warren/peers"
)

const vaultSeen = "last-seen"

// loadBook begins the book of reports with when hosts were last seen before the controller started. What
// cannot be read is only lost, not worth a start that fails.
func (c *Controller) loadBook(ctx context.Context) (*report.Book, error) {
	raw, err := c.vault.Fetch(ctx, vaultSeen)
	if errors.Is(err, fs.ErrNotExist) {
		return report.NewBook(nil), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read when hosts were last seen: %w", err)
	}
	var seen map[peers.HostID]time.Time
	if err := json.Unmarshal(raw, &seen); err != nil {
		c.log.Warn("forgot when hosts were last seen", "error", err)
	}
	return report.NewBook(seen), nil
}

// keepSeen writes down when hosts were last seen, those who are connected: now. That this is lost is
// worth a word in the log, and no more.
func (c *Controller) keepSeen(ctx context.Context) {
	now := time.Now().UTC().Truncate(time.Second)
	for _, id := range c.sessions.ids() {
		c.book.Touch(id, now)
	}
	raw, err := json.Marshal(c.book.Seen())
	if err == nil {
		err = c.vault.Put(ctx, map[string][]byte{vaultSeen: raw})
	}
	if err != nil {
		c.log.Warn("cannot keep when hosts were last seen", "error", err)
	}
}
