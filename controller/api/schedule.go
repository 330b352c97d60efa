package api

import (
	"context"
	"net/http"

	"github.com/warren-mesh/warren/peers/wire"
)

func (s *Server) scheduleRoutes() {
	schedule := s.backend.Schedule
	add(s, operation{
		"show-schedule", http.MethodGet, wire.PathSchedule,
		"Show the schedule of rotations", forReaders, 0,
	}, func(context.Context, *nothing) (*answer[wire.ScheduleView], error) {
		return reply(schedule.Schedule()), nil
	})
	add(s, operation{
		"set-schedule", http.MethodPut, wire.PathSchedule,
		"Replace the schedule of rotations", forAdmins, 0,
	}, func(ctx context.Context, in *request[wire.ScheduleOrder]) (*answer[wire.ScheduleView], error) {
		v, err := schedule.SetSchedule(ctx, callerOf(ctx).Name, in.Body)
		return reply(v), err
	})
	add(s, operation{
		"drop-schedule", http.MethodDelete, wire.PathSchedule,
		"Take the schedule of rotations away", forAdmins, 0,
	}, func(ctx context.Context, _ *nothing) (*answer[wire.ScheduleView], error) {
		v, err := schedule.DropSchedule(ctx, callerOf(ctx).Name)
		return reply(v), err
	})
}
