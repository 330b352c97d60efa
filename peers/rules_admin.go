package peers

import "fmt"

func (op AddAdmin) apply(d *draft) {
	at := "admin/" + op.Name
	d.checkName(at, op.Name)
	if d.next.Admins[op.Name] != nil {
		d.refuse("name-taken", at, "warren admin ls", "there is an admin %q already", op.Name)
	}
	if op.Identity.IsZero() {
		d.refuse("identity-missing", at, "the admin prints it with: warren admin key", "the admin has no identity")
	}
	if a, ok := d.next.AdminWith(op.Identity); ok {
		d.refuse("identity-taken", at, "warren admin ls", "admin %q has the same identity", a.Name)
	}
	if h := d.next.Hosts[HostID(op.Identity.Fingerprint())]; h != nil {
		d.refuse("identity-taken", at, "", "host %q has the same identity", h.Name)
	}
	if b := d.next.Buried[HostID(op.Identity.Fingerprint())]; b != nil {
		d.refuse("identity-revoked", at, "", "this identity was revoked when it was that of host %q", b.Name)
	}
	d.putAdmin(Admin{Name: op.Name, Identity: op.Identity, Added: d.change.At})
}

func (op RemoveAdmin) apply(d *draft) {
	if d.next.Admins[op.Name] == nil {
		d.refuse("admin-unknown", "admin/"+op.Name, "warren admin ls", "there is no admin %s", fmt.Sprintf("%.80q", op.Name))
		return
	}
	d.dropAdmin(op.Name)
}
