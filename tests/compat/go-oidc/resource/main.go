// A protected resource that checks access tokens with go-oidc.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"

	"wayleave-compat/go-oidc/about"
)

func main() {
	provider, err := oidc.NewProvider(context.Background(), os.Getenv("ISSUER"))
	if err != nil {
		log.Fatal(err)
	}
	// Without SupportedSigningAlgs it takes those that the metadata names for ID tokens.
	verifier := provider.Verifier(&oidc.Config{ClientID: os.Getenv("RESOURCE")})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		text, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		token, err := verifier.Verify(r.Context(), text)
		var claims struct {
			Sub   string `json:"sub"`
			Scope string `json:"scope"`
		}
		if err == nil {
			err = token.Claims(&claims)
		}
		if err != nil {
			log.Print(err)
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if !slices.Contains(strings.Fields(claims.Scope), "notes.read") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"program": about.Program(), "sub": claims.Sub, "scope": claims.Scope})
	})
	log.Fatal(http.ListenAndServe("localhost:"+os.Getenv("PORT"), nil))
}
