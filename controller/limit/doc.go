// Package limit keeps the controller usable while somebody, in malice or in panic, asks too much of it.
package limit
