// Package about says which go-oidc this is.
package about

import "runtime/debug"

// Program is go-oidc with its version.
func Program() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/coreos/go-oidc/v3" {
			return "go-oidc " + module.Version
		}
	}
	return "go-oidc"
}
