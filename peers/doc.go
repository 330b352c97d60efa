// Package peers is the domain of Warren: what a mesh is, how it may change, what each host must have,
// and which steps lead there from what it has.
//
// It holds every rule that matters and does no I/O: no clock, no network, no files, no randomness, no
// locks. The controller, the agent and the CLI's dry runs call the same functions.
//
//	Change ──Inventory.Record──▶ Entry (ledger) + Inventory ──Plan──▶ Plan ──Diff(State, Plan)──▶ []Step
//
// An Inventory is immutable: applying a change gives a new one that shares what did not change.
package peers
