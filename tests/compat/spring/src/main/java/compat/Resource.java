package compat;

import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.security.oauth2.server.resource.autoconfigure.servlet.JwkSetUriJwtDecoderBuilderCustomizer;
import org.springframework.context.annotation.Bean;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.SpringSecurityCoreVersion;
import org.springframework.security.core.annotation.AuthenticationPrincipal;
import org.springframework.security.oauth2.core.OAuth2TokenValidator;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.security.oauth2.jwt.JwtTypeValidator;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RestController;

/** A protected resource that checks access tokens with Spring Security. */
@SpringBootApplication
@RestController
public class Resource {
    public static void main(String[] arguments) {
        SpringApplication.run(Resource.class, arguments);
    }

    /** By itself it takes the typ JWT alone, which is what ID tokens have; access tokens have at+jwt (RFC 9068). */
    @Bean
    JwkSetUriJwtDecoderBuilderCustomizer anyType() {
        return builder -> builder.validateType(false);
    }

    @Bean
    OAuth2TokenValidator<Jwt> accessTokens() {
        return new JwtTypeValidator("at+jwt");
    }

    @Bean
    SecurityFilterChain chain(HttpSecurity http) throws Exception {
        return http.authorizeHttpRequests(requests -> requests.anyRequest().hasAuthority("SCOPE_notes.read"))
            .oauth2ResourceServer(server -> server.jwt(jwt -> {}))
            .build();
    }

    @PostMapping("/mcp")
    Map<String, String> answer(@AuthenticationPrincipal Jwt token) {
        var program = "Spring Security " + SpringSecurityCoreVersion.getVersion();
        return Map.of("program", program, "sub", token.getSubject(), "scope", token.getClaimAsString("scope"));
    }
}
