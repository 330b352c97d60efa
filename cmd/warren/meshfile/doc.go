// Package policyfile reads policies as people write them: in YAML, strictly, with the line of everything that is
// wrong. Whether what a policy names exists is not asked here.
package policyfile
