//! A statement and what is bound to it: one form for both databases.

use std::borrow::Cow;

use sqlx::{
    Arguments, Encode, Type, error::BoxDynError, postgres::PgArguments, sqlite::SqliteArguments,
};

/// A statement, with a value for each of its parameters: the first that is bound is `$1`.
pub(crate) struct Query<'q> {
    sql: &'static str,
    values: Vec<Value<'q>>,
}

/// A value for a parameter. One that is missing has a type too, which PostgreSQL asks for.
pub(crate) enum Value<'q> {
    Text(Option<Cow<'q, str>>),
    Int(Option<i64>),
    Bool(Option<bool>),
}

/// What can be bound: a text, unless it says otherwise.
pub(crate) trait Bind<'q>: Sized {
    /// The value of one that is missing.
    const MISSING: Value<'q> = Value::Text(None);

    fn value(self) -> Value<'q>;
}

impl<'q> Query<'q> {
    pub(crate) const fn new(sql: &'static str) -> Self {
        Self {
            sql,
            values: Vec::new(),
        }
    }

    /// Gives the next parameter its value.
    pub(crate) fn bind(mut self, value: impl Bind<'q>) -> Self {
        if self.values.is_empty() {
            // More than most have: they are moved once at most.
            self.values.reserve(8);
        }
        self.values.push(value.value());
        self
    }

    pub(super) fn sql(&self) -> &'static str {
        self.sql
    }

    /// As SQLite's driver takes it.
    pub(super) fn for_sqlite(self) -> Result<(&'static str, Option<SqliteArguments>), sqlx::Error> {
        Ok((
            self.sql,
            Some(arguments(self.values).map_err(sqlx::Error::Encode)?),
        ))
    }

    /// As PostgreSQL's driver takes it.
    pub(super) fn for_postgres(self) -> Result<(&'static str, Option<PgArguments>), sqlx::Error> {
        Ok((
            self.sql,
            Some(arguments(self.values).map_err(sqlx::Error::Encode)?),
        ))
    }
}

/// The values as a driver takes them, with room for all: a text that we own is handed on to SQLite as it is, and copied once
/// into what is sent to PostgreSQL.
fn arguments<'q, A>(values: Vec<Value<'q>>) -> Result<A, BoxDynError>
where
    A: Arguments,
    Option<Cow<'q, str>>: Encode<'q, A::Database> + Type<A::Database>,
    Option<i64>: Encode<'q, A::Database> + Type<A::Database>,
    Option<bool>: Encode<'q, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    arguments.reserve(values.len(), values.iter().map(Value::size).sum());
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text)?,
            Value::Int(number) => arguments.add(number)?,
            Value::Bool(flag) => arguments.add(flag)?,
        }
    }
    Ok(arguments)
}

impl Value<'_> {
    /// The bytes that it takes on the way to PostgreSQL, its length before it.
    fn size(&self) -> usize {
        let size = match self {
            Self::Text(text) => text.as_ref().map_or(0, |text| text.len()),
            Self::Int(_) => 8,
            Self::Bool(_) => 1,
        };
        size + 4
    }
}

impl<'q> Bind<'q> for &'q str {
    fn value(self) -> Value<'q> {
        Value::Text(Some(Cow::Borrowed(self)))
    }
}

impl<'q> Bind<'q> for &'q String {
    fn value(self) -> Value<'q> {
        self.as_str().value()
    }
}

impl<'q> Bind<'q> for String {
    fn value(self) -> Value<'q> {
        Value::Text(Some(Cow::Owned(self)))
    }
}

impl<'q> Bind<'q> for i64 {
    const MISSING: Value<'q> = Value::Int(None);

    fn value(self) -> Value<'q> {
        Value::Int(Some(self))
    }
}

impl<'q> Bind<'q> for bool {
    const MISSING: Value<'q> = Value::Bool(None);

    fn value(self) -> Value<'q> {
        Value::Bool(Some(self))
    }
}

impl<'q, T: Bind<'q>> Bind<'q> for Option<T> {
    const MISSING: Value<'q> = T::MISSING;

    fn value(self) -> Value<'q> {
        self.map_or(T::MISSING, T::value)
    }
}

impl<'q, T> Bind<'q> for &'q Option<T>
where
    &'q T: Bind<'q>,
{
    const MISSING: Value<'q> = <&'q T as Bind<'q>>::MISSING;

    fn value(self) -> Value<'q> {
        self.as_ref().value()
    }
}
