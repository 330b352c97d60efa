// Package api serves the controller's HTTP API under /v1/: to admins over a unix socket or with a pinned
// identity over TLS, and to hosts with theirs. It decides who may ask for what, keeps requests within
// limits, and generates the OpenAPI document from the types of the handlers. What a request means is
// the business of its Backend.
package api
