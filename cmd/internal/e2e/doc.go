// Package e2e tests the real programs end to end: controller and agents as processes on the hosts of a
// lab, real tunnels between them, the CLI as people use it. Build them first: make build.
package e2e
