//! What a document chooses from: grants, methods of authentication, kinds of application.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GrantType {
    AuthorizationCode,
    RefreshToken,
    DeviceCode,
    ClientCredentials,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AuthMethod {
    None,
    /// RFC 6749 §2.3.1, only for clients that were registered.
    ClientSecretPost,
    /// RFC 6749 §2.3.1, only for clients that were registered.
    ClientSecretBasic,
    /// RFC 7523 §2.2.
    PrivateKeyJwt,
}

/// The methods that a client may choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthMethods(pub Vec<AuthMethod>);

impl AuthMethods {
    /// Their wire names, as they are kept.
    pub fn to_column(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|method| method.as_str()).collect();
        names.join(" ")
    }

    /// What is kept; `None` where it is something else.
    pub fn from_column(text: &str) -> Option<Self> {
        let methods = text.split(' ').map(AuthMethod::from_wire);
        methods.collect::<Option<Vec<_>>>().map(Self)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ApplicationType {
    Web,
    Native,
}

impl GrantType {
    /// As sentences list them.
    pub const ALL: [Self; 4] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::DeviceCode,
        Self::ClientCredentials,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::ClientCredentials => "client_credentials",
        }
    }

    /// The grant of a wire name.
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.as_str() == name)
    }

    /// The parameters of `/token` that it has for itself.
    pub const fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::AuthorizationCode => &["code", "redirect_uri", "code_verifier"],
            Self::RefreshToken => &["refresh_token"],
            Self::DeviceCode => &["device_code"],
            Self::ClientCredentials => &[],
        }
    }
}

impl AuthMethod {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretPost => "client_secret_post",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// Those that a document may name: a secret is only for clients that were registered.
    pub const OF_DOCUMENTS: [Self; 2] = [Self::None, Self::PrivateKeyJwt];

    /// From the weakest to the strongest.
    const ALL: [Self; 4] = [
        Self::None,
        Self::ClientSecretPost,
        Self::ClientSecretBasic,
        Self::PrivateKeyJwt,
    ];

    /// The method of a wire name.
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// RFC 6749 §2.1: does it prove who the client is?
    pub fn is_confidential(self) -> bool {
        self != Self::None
    }

    /// Itself, and what proves less.
    pub fn and_weaker(self) -> AuthMethods {
        AuthMethods(
            Self::ALL
                .into_iter()
                .filter(|method| *method <= self)
                .collect(),
        )
    }
}

impl ApplicationType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Native => "native",
        }
    }
}
