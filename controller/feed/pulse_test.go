package feed

import (
	"testing"
	"testing/synctest"
	"time"
)

// beats waits on a pulse and notes when it beats.
func beats(p *pulse, n int) <-chan []time.Duration {
	start := time.Now()
	out := make(chan []time.Duration, 1)
	next := p.wait()
	go func() {
		var at []time.Duration
		for range n {
			<-next
			at = append(at, time.Since(start))
			next = p.wait()
		}
		out <- at
	}()
	return out
}

func TestPulseBeatsAtOnceAfterARest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pulse
		at := beats(&p, 3)
		for range 3 {
			p.beat(time.Now())
			<-time.After(time.Second)
		}
		for i, d := range <-at {
			if d != time.Duration(i)*time.Second {
				t.Errorf("beat %d after %v, want %d s", i, d, i)
			}
		}
	})
}

func TestPulseCoalescesUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pulse
		n := 0
		done := make(chan struct{})
		stop := make(chan struct{})
		go func() {
			defer close(done)
			for {
				next := p.wait()
				select {
				case <-next:
					n++
				case <-stop:
					return
				}
			}
		}()
		last := time.Now()
		for range 10_000 { // one each millisecond, for ten seconds
			p.beat(time.Now())
			last = time.Now()
			<-time.After(time.Millisecond)
		}
		<-time.After(2 * gapCeiling)
		close(stop)
		<-done
		if least := int(10 * time.Second / gapCeiling); n < least || n > least+20 {
			t.Errorf("%d beats for 10,000 calls in 10 s, want about %d", n, least)
		}
		if p.last.Before(last) {
			t.Error("the last call was not followed by a beat")
		}
		// One call after a rest brings the small gap back.
		p.beat(time.Now())
		if p.gap > gapFloor {
			t.Errorf("gap of %v after a rest, want %v", p.gap, gapFloor)
		}
	})
}
