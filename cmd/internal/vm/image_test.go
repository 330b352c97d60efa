package vm

import (
	"slices"
	"testing"
)

func TestRecipeIsComplete(t *testing.T) {
	for list, word := range map[string]string{
		"packages": "systemd", "enabled": "hand.service", "disabled": "NetworkManager.service", "masked": "apt-daily.timer",
	} {
		if !slices.Contains(listed(list), word) {
			t.Errorf("%s lacks %s: %v", list, word, listed(list))
		}
	}
}

func TestRecipeKeyFollowsTheKernel(t *testing.T) {
	one, err := recipeKey(Kernel{Version: "6.1.0-1"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := recipeKey(Kernel{Version: "6.1.0-1"})
	if err != nil || again != one {
		t.Errorf("the same recipe has keys %s and %s, %v", one, again, err)
	}
	other, err := recipeKey(Kernel{Version: "6.1.0-2"})
	if err != nil || other == one {
		t.Errorf("another kernel has the same key %s, %v", other, err)
	}
}
