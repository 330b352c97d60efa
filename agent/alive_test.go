package agent_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/agent"
	"github.com/warren-mesh/warren/peers"
)

// A stuckKernel never returns from a look at it, once it is stuck.
type stuckKernel struct {
	agent.Kernel
	stuck chan struct{} // a look waits while there is nothing to take
}

// Observe waits.
func (k *stuckKernel) Observe(ctx context.Context) (peers.State, error) {
	<-k.stuck
	return k.Kernel.Observe(ctx)
}

// TestAliveIsTheLoop: nothing says that an agent is alive whose loop is stuck in the kernel.
func TestAliveIsTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.member()
		r.stop()
		k := &stuckKernel{Kernel: r.kernel, stuck: make(chan struct{}, 1)}
		k.stuck <- struct{}{}
		r.edit = func(c *agent.Config) { c.Kernel = k }
		r.start()
		time.Sleep(time.Minute) // and it is stuck in its next look
		alive := make(chan error, 1)
		go func() { alive <- r.agent.Alive(t.Context()) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case err := <-alive:
			t.Fatalf("stuck for an hour, and alive: %v", err)
		default:
		}
		close(k.stuck)
		if err := <-alive; err != nil {
			t.Errorf("no longer stuck: %v", err)
		}
	})
}
