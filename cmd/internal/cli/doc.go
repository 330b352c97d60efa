// Package cli is what the commands for people have in common: exit codes, errors that say what helps,
// tables for people and JSON for machines, help texts, and the description from which the command
// reference is made. It talks to nobody: what a command does is the command's business.
package cli
