// A web app that signs in as the example of go-oidc has it, with PKCE, and shows what it learned.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"wayleave-compat/go-oidc/about"
)

type app struct {
	provider *oidc.Provider
	config   oauth2.Config
	verifier *oidc.IDTokenVerifier
}

func main() {
	address := "localhost:" + os.Getenv("PORT")
	provider, err := oidc.NewProvider(context.Background(), os.Getenv("ISSUER"))
	if err != nil {
		log.Fatal(err)
	}
	config := oauth2.Config{
		ClientID:     os.Getenv("CLIENT_ID"),
		ClientSecret: os.Getenv("CLIENT_SECRET"),
		Endpoint:     provider.Endpoint(),
		RedirectURL:  "http://" + address + "/callback",
		Scopes:       []string{oidc.ScopeOpenID, "profile", "email"},
	}
	app := app{provider, config, provider.Verifier(&oidc.Config{ClientID: config.ClientID})}
	http.HandleFunc("/{$}", app.begin)
	http.HandleFunc("/callback", app.callback)
	log.Fatal(http.ListenAndServe(address, nil))
}

// begin keeps in cookies what the callback compares, as the example does.
func (a app) begin(w http.ResponseWriter, r *http.Request) {
	state, nonce, verifier := oauth2.GenerateVerifier(), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	for name, value := range map[string]string{"state": state, "nonce": nonce, "verifier": verifier} {
		http.SetCookie(w, &http.Cookie{Name: name, Value: value, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	location := a.config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier))
	http.Redirect(w, r, location, http.StatusFound)
}

func (a app) callback(w http.ResponseWriter, r *http.Request) {
	who, err := a.signIn(r)
	if err != nil {
		log.Print(err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(who)
}

func (a app) signIn(r *http.Request) (map[string]any, error) {
	kept := func(name string) string {
		cookie, err := r.Cookie(name)
		if err != nil {
			return ""
		}
		return cookie.Value
	}
	if kept("state") == "" || r.FormValue("state") != kept("state") {
		return nil, errors.New("the state is another one")
	}
	tokens, err := a.config.Exchange(r.Context(), r.FormValue("code"), oauth2.VerifierOption(kept("verifier")))
	if err != nil {
		return nil, err
	}
	text, _ := tokens.Extra("id_token").(string)
	idToken, err := a.verifier.Verify(r.Context(), text)
	if err != nil {
		return nil, err
	}
	if idToken.Nonce != kept("nonce") {
		return nil, errors.New("the nonce is another one")
	}
	if err := idToken.VerifyAccessToken(tokens.AccessToken); err != nil {
		return nil, err
	}
	userinfo, err := a.provider.UserInfo(r.Context(), oauth2.StaticTokenSource(tokens))
	if err != nil {
		return nil, err
	}
	who := map[string]any{"program": about.Program()}
	for name, source := range map[string]interface{ Claims(any) error }{"id_token": idToken, "userinfo": userinfo} {
		var claims map[string]any
		if err := source.Claims(&claims); err != nil {
			return nil, err
		}
		who[name] = claims
	}
	return who, nil
}
