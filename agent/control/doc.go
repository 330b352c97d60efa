// Package control is an agent's end of the control channel: it asks a controller about a token, enrols,
// and then follows the controller's stream. It holds the plan as the stream makes it and knows what the
// controller was told; it touches neither files nor the kernel.
//
// Losing the controller is nothing that this package reports as an error: it tries again, slower and
// slower, with jitter, and says in its View how things stand.
package control
