// Package drawing draws a mesh: as a picture, and in the languages of Graphviz and Mermaid. The same mesh gives the
// same bytes.
package drawing
