package peers

import "time"

const (
	maxTokenUses = 1000
	maxTokenTTL  = 366 * 24 * time.Hour
)

func (op CreateToken) apply(d *draft) {
	at := "token/" + op.ID
	if !isHandle(op.ID, 32) || d.next.Tokens[op.ID] != nil {
		d.refuse("token-id", at, "", "the token has no usable id")
	}
	if op.Hash == (Hash{}) {
		d.refuse("token-hash", at, "", "the token has no hash")
	}
	d.checkName(at+"/site", op.Site)
	if op.Name != "" {
		d.checkName(at+"/name", op.Name)
		if h, taken := d.next.HostNamed(op.Name); taken {
			d.refuse("name-taken", at+"/name", "warren host ls", "there is a host %q already, it is %s", h.Name, h.State)
		}
		if op.Uses > 1 {
			d.refuse("token-uses", at+"/uses", "leave --name away, or use one token for each host",
				"%d hosts cannot all be named %q", op.Uses, op.Name)
		}
	}
	if op.Uses < 1 || op.Uses > maxTokenUses {
		d.refuse("token-uses", at+"/uses", "", "%d uses: want 1 to %d", op.Uses, maxTokenUses)
	}
	d.checkFuture(at+"/expires", op.Expires)
	if op.Expires.Sub(d.change.At) > maxTokenTTL {
		d.refuse("token-ttl", at+"/expires", "", "a token may be valid for a year at most")
	}
	if d.next.Sites[op.Site] == nil {
		d.putSite(Site{Name: op.Site})
	}
	d.putToken(Token{
		ID: op.ID, Hash: op.Hash, Site: op.Site, Name: op.Name, Created: d.change.At,
		Expires: op.Expires.UTC(), Uses: op.Uses, Approve: op.Approve,
	})
}

func (op RevokeToken) apply(d *draft) {
	t := d.next.Tokens[op.ID]
	at := "token/" + op.ID
	if t == nil {
		d.refuse("token-unknown", at, "warren token ls", "there is no such token")
		return
	}
	if t.Revoked {
		d.refuse("token-revoked", at, "", "the token is revoked already")
	}
	revoked := *t
	revoked.Revoked = true
	d.putToken(revoked)
}

// Valid reports what keeps a host named name from enrolling with the token at a time; nil where nothing does.
func (t *Token) Valid(name string, at time.Time) error { return t.problems(name, at).err() }

func (t *Token) problems(name string, at time.Time) (ps Problems) {
	where := "token/" + t.ID
	hint := "ask an admin for a new one: warren token create --site " + t.Site
	switch {
	case t.Revoked:
		ps.addf("token-revoked", where, hint, "the token was revoked")
	case !at.Before(t.Expires):
		ps.addf("token-expired", where, hint, "the token expired at %s", t.Expires.UTC().Format(time.RFC3339))
	case t.Used >= t.Uses:
		ps.addf("token-used-up", where, hint, "the token was used %d of %d times", t.Used, t.Uses)
	}
	if t.Name != "" && name != t.Name {
		ps.addf("token-name", where, "warren enroll TOKEN --name "+t.Name,
			"the token admits only a host named %q, not %q", t.Name, name)
	}
	return ps
}
