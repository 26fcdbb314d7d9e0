//! How our types are bound to parameters and read from columns. A text that its type refuses is an error, never a guess.

use sqlx::error::BoxDynError;

use super::{
    query::{Bind, Value},
    row::{Cell, Column},
};
use crate::{
    protocol::{
        client::Digest,
        client_id::ClientId,
        client_metadata::{AuthMethod, AuthMethods},
        client_url::ClientUrl,
        id_token::SigningAlg,
        pkce::CodeChallenge,
        resource::Resources,
        scope::Scope,
        user_code::UserCode,
    },
    secret::SecretHash,
    time::UnixTime,
};

impl<'q> Bind<'q> for UnixTime {
    const MISSING: Value<'q> = i64::MISSING;

    fn value(self) -> Value<'q> {
        self.0.value()
    }
}

impl<'q, K> Bind<'q> for &'q SecretHash<K> {
    fn value(self) -> Value<'q> {
        self.as_str().value()
    }
}

/// Types that are kept as texts: the value, and its text.
macro_rules! texts {
    ($($ty:ty: $value:ident => $text:expr;)+) => {
        $(impl<'q> Bind<'q> for $ty {
            fn value(self) -> Value<'q> {
                let $value = self;
                $text.value()
            }
        })+
    };
}

texts! {
    &'q ClientId: id => id.as_str();
    &'q ClientUrl: id => id.as_str();
    &'q Digest: digest => digest.as_str();
    &'q UserCode: code => code.as_str();
    &'q CodeChallenge: challenge => challenge.as_str();
    &'q AuthMethods: methods => methods.to_column();
    &'q Scope: scope => scope.to_string();
    &'q Resources: resources => resources.to_string();
    AuthMethod: method => method.as_str();
    SigningAlg: alg => alg.as_str();
}

impl Column for UnixTime {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        i64::read(cell).map(Self)
    }
}

impl Column for Digest {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        String::read(cell).map(Self::from_column)
    }
}

impl Column for AuthMethod {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        Ok(Self::from_wire(cell.text()?).ok_or("no authentication method")?)
    }
}

impl Column for AuthMethods {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        Ok(Self::from_column(cell.text()?).ok_or("no authentication methods")?)
    }
}

impl Column for SigningAlg {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        Ok(Self::from_wire(cell.text()?).ok_or("no signature algorithm of ours")?)
    }
}

impl Column for ClientId {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        Ok(cell.text()?.parse()?)
    }
}

impl Column for Scope {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        Ok(cell.text()?.parse()?)
    }
}

impl Column for Resources {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        Ok(cell.text()?.parse()?)
    }
}

impl Column for CodeChallenge {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        Ok(cell.text()?.parse()?)
    }
}
