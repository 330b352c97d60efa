package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	// vaultNoticed is where it is kept when a generation was first seen to begin in the future.
	vaultNoticed = "generation-noticed"
	// clockSlack is how far the clocks of two controllers may be apart.
	clockSlack = time.Minute
	// scheduleRest follows a rotation that could not be begun.
	scheduleRest = time.Minute
	byScheduler  = "schedule"
)

// A notice says when a generation was first seen whose beginning lies in the future: the clock was wrong
// then, and what counts is when it was put right. Without it, a clock that was a year ahead for a moment
// would leave the mesh without a rotation for a year.
type notice struct {
	Generation peers.Generation `json:"generation"`
	At         time.Time        `json:"at"`
}

// scheduler is what a controller knows of the schedule beside the ledger.
type scheduler struct {
	mu      sync.Mutex
	noticed notice
	last    peers.Entry // that ended a rotation; zero for unknown

	zones map[string]*time.Location // that were asked for

	notBefore time.Time // another attempt; belongs to Run
}

// zone finds a time zone, and reads it once: the loop asks every second.
func (s *scheduler) zone(name string) (*time.Location, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if zone, ok := s.zones[name]; ok {
		return zone, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	if s.zones == nil {
		s.zones = map[string]*time.Location{}
	}
	s.zones[name] = zone
	return zone, nil
}

// note keeps the entry that ended the last rotation.
func (s *scheduler) note(e peers.Entry) {
	if _, _, ok := e.Rotated(); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last = e
	}
}

// end is how the last rotation ended; nil where that is not known.
func (s *scheduler) end(inv *peers.Inventory) *wire.RotationEnd {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, took, ok := s.last.Rotated()
	if !ok {
		return nil
	}
	behind, cut := s.last.LeftBehind()
	end := &wire.RotationEnd{Generation: g, Took: took.Seconds(), Behind: []string{}, Cut: cut}
	for _, h := range inv.SortedHosts() {
		switch {
		case !h.Key(g).IsZero():
			end.Keys++
		case slices.Contains(behind, h.ID):
			end.Behind = append(end.Behind, h.Name)
		}
	}
	return end
}

// loadNotice reads what an earlier run has noticed.
func (c *Controller) loadNotice(ctx context.Context) error {
	raw, err := c.vault.Fetch(ctx, vaultNoticed)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read when the last rotation was: %w", err)
	}
	c.schedule.mu.Lock()
	defer c.schedule.mu.Unlock()
	if err := json.Unmarshal(raw, &c.schedule.noticed); err != nil {
		c.log.Warn("forgot when the clock was put back", "error", err)
	}
	return nil
}

// notice keeps it where the newest generation begins in the future.
func (c *Controller) notice(ctx context.Context, mark peers.GenerationMark, now time.Time) {
	c.schedule.mu.Lock()
	defer c.schedule.mu.Unlock()
	known := c.schedule.noticed
	if !mark.Started.After(now.Add(clockSlack)) || known.Generation == mark.Number && !known.At.After(now) {
		return
	}
	c.schedule.noticed = notice{Generation: mark.Number, At: now.UTC()}
	raw, err := json.Marshal(c.schedule.noticed)
	if err == nil {
		err = c.vault.Put(ctx, map[string][]byte{vaultNoticed: raw})
	}
	if err != nil {
		c.log.Warn("cannot keep when the clock was put back", "error", err)
	}
	c.log.Warn("the newest keys are from the future: was the clock put back? The schedule counts from now",
		"generation", uint64(mark.Number), "started", mark.Started)
}

// begun is when the newest generation began, as far as the clock can be believed.
func (c *Controller) begun(mark peers.GenerationMark, now time.Time) time.Time {
	if !mark.Started.After(now.Add(clockSlack)) {
		return mark.Started
	}
	c.schedule.mu.Lock()
	defer c.schedule.mu.Unlock()
	if known := c.schedule.noticed; known.Generation == mark.Number {
		return known.At
	}
	return now
}

// slot is when the next rotation is due; ok is false where there is no schedule.
func (c *Controller) slot(inv *peers.Inventory, now time.Time) (slot peers.Slot, ok bool, err error) {
	if inv.Mesh.Schedule == nil {
		return slot, false, nil
	}
	marks := inv.Mesh.Generations
	slot, err = inv.Mesh.NextSlot(inv.Mesh.LastRotation(c.begun(marks[len(marks)-1], now)), now, c.schedule.zone)
	return slot, err == nil, err
}

// keepSchedule begins a rotation where one is due. Whether it is, is looked at again within the change: of
// several controllers on one ledger the first begins it, and for the others it is no longer due.
func (c *Controller) keepSchedule(ctx context.Context, now time.Time) {
	due := func(inv *peers.Inventory) bool {
		slot, ok, err := c.slot(inv, now)
		if err != nil {
			c.rest(now, err)
		}
		return ok && len(inv.Mesh.Generations) == 1 && slot.Due(now)
	}
	inv := c.Inventory()
	marks := inv.Mesh.Generations
	c.notice(ctx, marks[len(marks)-1], now)
	// The second condition lets a clock that was put back go on.
	if now.Before(c.schedule.notBefore) && now.Add(scheduleRest).After(c.schedule.notBefore) || !due(inv) {
		return
	}
	if _, err := c.begin(ctx, byScheduler, wire.RotationOrder{Why: inv.Mesh.Schedule.String()}, due); err != nil {
		c.rest(now, err)
	}
}

// rest waits a while after a failure, so that it is told once a minute and not once a second.
func (c *Controller) rest(now time.Time, err error) {
	c.schedule.notBefore = now.Add(scheduleRest)
	c.log.Error("cannot begin the rotation that is due", "error", err)
}

// Schedule is the schedule of rotations.
func (c *Controller) Schedule() wire.ScheduleView { return c.scheduleView(c.Inventory()) }

func (c *Controller) scheduleView(inv *peers.Inventory) wire.ScheduleView {
	now := c.now()
	newest := inv.Mesh.Generations[len(inv.Mesh.Generations)-1]
	v := wire.ScheduleView{
		Generation: newest.Number, KeyAge: max(0, now.Sub(c.begun(newest, now)).Seconds()), Problems: c.keyProblems(inv, now),
	}
	if s := inv.Mesh.Schedule; s != nil {
		v.Schedule = &wire.ScheduleOrder{Every: s.Every, CatchUp: s.CatchUp, Windows: []string{}}
		for _, w := range s.Windows {
			v.Schedule.Windows = append(v.Schedule.Windows, w.String())
		}
	}
	if slot, ok, _ := c.slot(inv, now); ok { // the error is one of the problems
		at := slot.At.UTC()
		v.Next, v.Missed = &at, slot.Missed
	}
	return v
}

// keyProblems says what keeps the schedule from being kept.
func (c *Controller) keyProblems(inv *peers.Inventory, now time.Time) []peers.Problem {
	slot, ok, err := c.slot(inv, now)
	p := peers.Problem{Code: "key-age", At: "mesh/schedule", Hint: "warren rotate schedule"}
	newest := inv.Mesh.Generations[len(inv.Mesh.Generations)-1]
	age := peers.FormatSpan(now.Sub(c.begun(newest, now)).Truncate(time.Minute))
	switch {
	case err != nil:
		p.Message = fmt.Sprintf("no rotation can be scheduled: %v", err)
	case !ok || !slot.Missed:
		return []peers.Problem{}
	case len(inv.Mesh.Generations) > 1:
		p.Message = fmt.Sprintf("a rotation is due and the one before, %s ago, is not over", age)
		p.Hint = "warren rotate status"
	default:
		p.Message = fmt.Sprintf("the keys are %s old: the rotation that was due has been missed, the next is at %s",
			age, slot.At.UTC().Format(time.RFC3339))
		p.Hint = "to begin it now: warren rotate"
	}
	return []peers.Problem{p}
}

// SetSchedule replaces the schedule of rotations.
func (c *Controller) SetSchedule(ctx context.Context, by string, order wire.ScheduleOrder) (wire.ScheduleView, error) {
	s := &peers.Schedule{Every: order.Every, CatchUp: order.CatchUp}
	var problems peers.Problems
	for i, text := range order.Windows {
		w, err := peers.ParseWindow(text)
		if err == nil {
			_, err = c.schedule.zone(w.Zone())
		}
		if err != nil {
			problems = append(problems, peers.Problem{
				Code: "schedule-window", At: fmt.Sprintf("windows/%d", i), Message: err.Error(),
				Hint: `for instance: --window "Sun 02:00-04:00 Europe/Berlin"`,
			})
		}
		s.Windows = append(s.Windows, w)
	}
	if len(problems) > 0 {
		return wire.ScheduleView{}, wire.FaultOf(422, problems)
	}
	return c.putSchedule(ctx, by, s)
}

// DropSchedule takes the schedule away.
func (c *Controller) DropSchedule(ctx context.Context, by string) (wire.ScheduleView, error) {
	return c.putSchedule(ctx, by, nil)
}

func (c *Controller) putSchedule(ctx context.Context, by string, s *peers.Schedule) (wire.ScheduleView, error) {
	inv, err := c.change(ctx, by, "", func(inv *peers.Inventory) (peers.Op, error) {
		if s == nil && inv.Mesh.Schedule == nil {
			return nil, nil
		}
		return peers.SetSchedule{Schedule: s}, nil
	})
	if err != nil {
		return wire.ScheduleView{}, err
	}
	return c.scheduleView(inv), nil
}
