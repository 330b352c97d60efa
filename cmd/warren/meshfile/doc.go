// Package meshfile reads and writes what admins say of a mesh: policies, and files with more sections. They are
// YAML, read strictly, with the line of everything that is wrong. Whether what a file names exists is not asked here.
package meshfile
