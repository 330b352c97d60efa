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
	RemoveSite(ctx context.Context, by, name string) error
}

func (s *Server) siteRoutes() {
	sites := s.backend.Sites
	one := wire.PathSites + "/{name}"
	type change struct {
		Name string `path:"name" maxLength:"64"`
		Body wire.SiteOrder
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
		"Remove a site that nobody uses", forAdmins, http.StatusNoContent,
	}, func(ctx context.Context, in *named) (*nothing, error) {
		return &nothing{}, sites.RemoveSite(ctx, callerOf(ctx).Name, in.Name)
	})
}
