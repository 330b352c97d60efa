package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// contracts are the shapes of JSON that scripts rely on. A name that stands here keeps its meaning for
// ever; what is new is added to extensions first.
func contracts() map[string]string {
	return map[string]string{
		"status": `{"host":"","id":"","mesh":"","site":"","address":"","address6":"","state":"",
			"backend":"","version":"","revision":1,"generation":1,
			"controller":{"address":"","connected":true,"last_contact":""},
			"interfaces":[{"name":"","generation":1,"port":1,"public_key":"","mtu":1}],
			"peers":[{"host":"","id":"","site":"","address":"","state":"","generation":1,"interface":"",
				"endpoint":"","last_handshake":"","rx_bytes":1,"tx_bytes":1,"allowed_ips":[""]}],
			"problems":[{"code":"","message":"","hint":""}]}`,
		"hosts": `[{"name":"","id":"","site":"","address":"","state":"","online":true,"last_seen":"","revision":1,
			"generation":1,"backend":"","version":"","problems":[{"code":"","message":"","hint":""}]}]`,
		"rotation": `{"generation":1,"previous":1,"phase":"","pairs":{"total":1,"proven":1,"switched":1,"retired":1},
			"waiting":[{"host":"","reason":"","since":""}],"next":""}`,
		"sites": `[{"name":"","prefixes":[{"prefix":""}],"gateways":[""],"hosts":[""]}]`,
		"token": `{"id":"","token":"","site":"","name":"","expires":"","uses":1}`,
		"error": `{"error":{"code":"","message":"","hint":""}}`,
	}
}

// extensions are the fields that there are beyond the contract.
func extensions() []string {
	return []string{
		"status.controller.error", "status.peers[].address6", "status.problems[].at", "status.restored", "status.guard",
		"hosts[].address6", "hosts[].enrolled", "hosts[].endpoints", "hosts[].identity", "hosts[].keys",
		"hosts[].rekey", "hosts[].labels", "hosts[].former", "hosts[].key_since", "status.key_age", "status.interfaces[].since",
		"hosts[].problems[].at",
		"sites[].prefixes[].as", "sites[].prefixes[].snat", "sites[].lan_check",
		"token.created", "token.used", "token.approve", "token.state",
		"error.error.problems",
		"rotation.started", "rotation.last", "rotation.waiting[].code", "rotation.grace_ends",
	}
}

// nullable are the times that may be never, and the generation that is left while a rotation runs.
func nullable() []string {
	return []string{
		"status.controller.last_contact", "status.peers[].last_handshake", "hosts[].last_seen", "hosts[].key_since",
		"rotation.previous", "rotation.next",
	}
}

// contract NAME compares stdout, one JSON value and nothing else, with the contract of that name.
func contract(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || contracts()[args[0]] == "" {
		ts.Fatalf("usage: contract status|hosts|sites|rotation|token|error")
	}
	var want, got any
	ts.Check(json.Unmarshal([]byte(contracts()[args[0]]), &want))
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &got); err != nil {
		ts.Fatalf("stdout is not one JSON value: %v", err)
	}
	if d := breaches(args[0], want, got); len(d) > 0 {
		ts.Fatalf("against the contract:\n%s", strings.Join(d, "\n"))
	}
}

// breaches lists where got has other fields or types than want.
func breaches(path string, want, got any) (found []string) {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, want an object", path, got)}
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			value, there := object[name]
			if !there {
				// A problem for which nobody knows a remedy has no hint.
				if name != "hint" || path == "error.error" {
					found = append(found, path+"."+name+" is missing")
				}
				continue
			}
			found = append(found, breaches(path+"."+name, want[name], value)...)
		}
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if _, known := want[name]; !known && !slices.Contains(extensions(), path+"."+name) {
				found = append(found, path+"."+name+" is not in the contract")
			}
		}
	case []any:
		list, ok := got.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, want a list", path, got)}
		}
		for _, element := range list {
			found = append(found, breaches(path+"[]", want[0], element)...)
		}
	default:
		if got == nil && slices.Contains(nullable(), path) {
			return nil
		}
		if w, g := fmt.Sprintf("%T", want), fmt.Sprintf("%T", got); w != g {
			found = append(found, fmt.Sprintf("%s is %s, want %s", path, g, w))
		}
	}
	return found
}
