package peers

import (
	"fmt"
	"maps"
	"slices"
)

func (op LabelHost) apply(d *draft) {
	h, ok := d.host(op.ID)
	if !ok {
		return
	}
	at := "host/" + h.Name + "/labels"
	labels := map[string]string{}
	maps.Copy(labels, h.Labels)
	for _, k := range op.Remove {
		if _, ok := labels[k]; !ok {
			d.refuse("label-unknown", at, "warren host show "+h.Name, "the host has no label %.80q", k)
		}
		delete(labels, k)
	}
	for _, k := range slices.Sorted(maps.Keys(op.Set)) {
		if v := op.Set[k]; !isLabelKey(k) || !isLabelValue(v) {
			d.refuse("label-invalid", at, "a key is up to 63 of a-z, 0-9 and -, a value also of A-Z, _ and .",
				"%.80q is no label", k+"="+v)
		}
		labels[k] = op.Set[k]
	}
	if len(op.Set)+len(op.Remove) == 0 {
		d.refuse("change-empty", at, "warren host label "+h.Name+" KEY=VALUE", "nothing to set")
	}
	if len(labels) > maxLabels {
		d.refuse("label-invalid", at, "", "%d labels: %d at most", len(labels), maxLabels)
	}
	h.Labels = cloneLabels(labels)
	d.putHost(h)
}

func (op SetPolicy) apply(d *draft) {
	c := policyCheck{draft: d, policy: op.Policy.clone(), hosts: map[string]bool{}}
	for _, h := range d.next.Hosts {
		c.hosts[h.Name] = true
	}
	c.sizes()
	if len(d.problems) > 0 {
		return // it is too much to look at
	}
	for i := range c.policy.Flows {
		c.flow(fmt.Sprintf("policy/flows/%d", i), &c.policy.Flows[i])
	}
	for i := range c.policy.Tests {
		c.test(i)
	}
	d.putPolicy(*c.policy)
	if len(d.problems) == 0 {
		d.problems = append(d.problems, d.next.testPolicy()...)
	}
}

// A policyCheck finds all that is wrong with a policy.
type policyCheck struct {
	*draft
	policy *Policy
	hosts  map[string]bool // by name
}

func (c *policyCheck) sizes() {
	p := c.policy
	if len(p.Flows) > maxFlows || len(p.Tests) > maxTests {
		c.refuse("policy-size", "policy", "let selectors select more at once",
			"%d flows and %d tests: %d of each at most", len(p.Flows), len(p.Tests), maxFlows)
	}
	for i := range p.Flows {
		f := &p.Flows[i]
		if len(f.From) > maxSelectors || len(f.To) > maxSelectors || len(f.Allow) > maxServices {
			c.refuse("policy-size", fmt.Sprintf("policy/flows/%d", i), "give the hosts a label: warren host label NAME KEY=VALUE",
				"a flow with more than %d selectors or services", maxSelectors)
		}
	}
}

func (c *policyCheck) flow(at string, f *Flow) {
	for _, side := range []struct {
		name string
		list []Selector
	}{{"from", f.From}, {"to", f.To}} {
		if len(side.list) == 0 {
			c.refuse("policy-empty", at+"/"+side.name, "write * for everything", "the flow selects nothing here")
		}
		for j, s := range side.list {
			c.selector(fmt.Sprintf("%s/%s/%d", at, side.name, j), s)
		}
	}
	if len(f.Allow) == 0 {
		c.refuse("policy-empty", at+"/allow", "write * for everything, or leave the flow out", "the flow allows nothing")
	}
	for j, s := range f.Allow {
		c.service(fmt.Sprintf("%s/allow/%d", at, j), s)
	}
}

// selector refuses what the text form cannot say, and hosts and sites that there are not.
func (c *policyCheck) selector(at string, s Selector) {
	if again, err := ParseSelector(s.String()); err != nil || again != s {
		c.refuse("selector-invalid", at, "write host:NAME, site:NAME, label:KEY=VALUE, a prefix or *", "the selector is none")
		return
	}
	switch {
	case s.Kind == SelectHost && !c.hosts[s.Name]:
		c.refuse("host-unknown", at, "warren host ls", "there is no host %q", s.Name)
	case s.Kind == SelectSite && c.next.Sites[s.Name] == nil:
		c.refuse("site-unknown", at, "warren token create --site "+s.Name, "there is no site %q", s.Name)
	}
}

func (c *policyCheck) service(at string, s Service) {
	if again, err := ParseService(s.String()); err != nil || again != s {
		c.refuse("service-invalid", at, "write tcp/5432, tcp/8000-8100, udp/53, icmp or *", "the service is none")
	}
}

func (c *policyCheck) test(i int) {
	at := fmt.Sprintf("policy/tests/%d", i)
	t := &c.policy.Tests[i]
	c.selector(at+"/from", t.From)
	c.selector(at+"/to", t.To)
	c.service(at+"/proto", t.Proto)
	if t.Expect != ExpectAllow && t.Expect != ExpectDeny {
		c.refuse("test-invalid", at+"/expect", "write allow or deny", "%.20q is nothing to expect", t.Expect)
	}
	for j := range c.policy.Tests[:i] {
		o := &c.policy.Tests[j]
		if o.From == t.From && o.To == t.To && o.Proto == t.Proto && o.Expect != t.Expect {
			c.refuse("test-contradiction", at, "", "test %d expects the opposite of the same", j+1)
		}
	}
}
