package api

import (
	"context"
	"net/http"

	"github.com/warren-mesh/warren/peers/wire"
)

// Sites are the places with networks behind gateways.
type Sites interface {
	Sites() []wire.SiteView
	AddSite(ctx context.Context, by string, order wire.SiteOrder) (wire.SiteResult, error)
	SetSite(ctx context.Context, by string, order wire.SiteOrder) (wire.SiteResult, error)
	RemoveSite(ctx context.Context, by string, order wire.SiteRemovalOrder) (wire.SiteRemoval, error)
}

func (s *Server) siteRoutes() {
	sites := s.backend.Sites
	one := wire.PathSites + "/{name}"
	type change struct {
		Name string `path:"name" maxLength:"64"`
		Body wire.SiteOrder
	}
	type removal struct {
		Name   string `path:"name" maxLength:"64"`
		DryRun bool   `query:"dry_run" doc:"only tell what would come of it"`
		Within int    `query:"within" minimum:"0" doc:"seconds until it is taken back unless confirmed"`
		Why    string `query:"why" maxLength:"500" doc:"for the audit log"`
	}
	add(s, operation{
		"list-sites", http.MethodGet, wire.PathSites,
		"List sites", forReaders, 0,
	}, func(context.Context, *nothing) (*answer[[]wire.SiteView], error) { return reply(sites.Sites()), nil })
	add(s, operation{
		"add-site", http.MethodPost, wire.PathSites,
		"Give a site networks and gateways, or tell what would come of it", forAdmins, 0,
	}, func(ctx context.Context, in *request[wire.SiteOrder]) (*answer[wire.SiteResult], error) {
		v, err := sites.AddSite(ctx, callerOf(ctx).Name, in.Body)
		return reply(v), err
	})
	add(s, operation{
		"set-site", http.MethodPatch, one,
		"Change a site, or tell what would come of it", forAdmins, 0,
	}, func(ctx context.Context, in *change) (*answer[wire.SiteResult], error) {
		in.Body.Name = in.Name
		v, err := sites.SetSite(ctx, callerOf(ctx).Name, in.Body)
		return reply(v), err
	})
	add(s, operation{
		"remove-site", http.MethodDelete, one,
		"Remove a site that nobody uses, or tell what would come of it", forAdmins, 0,
	}, func(ctx context.Context, in *removal) (*answer[wire.SiteRemoval], error) {
		v, err := sites.RemoveSite(ctx, callerOf(ctx).Name, wire.SiteRemovalOrder{
			Name: in.Name, DryRun: in.DryRun, Within: in.Within, Why: in.Why,
		})
		return reply(v), err
	})
}
