package agent_test

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestEnroll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.c.AddHost("warehouse", "198.51.100.2:51820")
		r.start()
		if s := r.status(); s.State != "unenrolled" || len(s.Problems) > 0 {
			t.Errorf("before: %+v", s)
		}
		token := r.c.Token()
		go func() {
			for range 100 {
				time.Sleep(20 * time.Millisecond)
			}
		}()
		told, err := r.enroll(token.Encode())
		if err != nil {
			t.Fatalf("%v\n%s", err, r.log)
		}
		for _, p := range told {
			t.Logf("%s: %s %v", p.Step, p.Message, p.Done)
		}
		t.Log(r.kernelText())
		t.Logf("%+v", r.status())
		t.Log(r.log)
	})
}

func (r *rig) kernelText() string { return r.kernel.String() }
