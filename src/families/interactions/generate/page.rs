//! A shop: its pages, what can be clicked on them, and where people go from each, as a Markov chain.

use std::fmt;

use serde::Serialize;

/// The kinds of pages, each a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the pages of any shop")]
pub enum Page {
    Home,
    Search,
    Product,
    Cart,
    Checkout,
    Account,
    Help,
}

use Page::{Account, Cart, Checkout, Help, Home, Product, Search};

/// A page of a kind: a product, an order …
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its kind.
    pub page: Page,
    /// Which of them.
    pub item: u32,
}

/// An element of a page.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Element {
    /// A CSS selector.
    pub selector: &'static str,
    /// Its tag.
    pub tag: &'static str,
    /// Its role, where it has another than its tag says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// A hash of its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_hash: Option<&'static str>,
    /// Whether it invites a click, where tag and role don't say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interactive: Option<bool>,
}

/// A form.
#[derive(Debug)]
pub struct Form {
    /// Its name.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [Element],
    /// What sends it.
    pub button: &'static Element,
    /// Where it is sent to.
    pub route: &'static str,
    /// Where it leads.
    pub next: Page,
}

/// The pages with a form that may take several attempts.
pub static LONG_FORMS: [(Page, &Form); 3] =
    [(Checkout, &PAYMENT_FORM), (Account, &PROFILE_FORM), (Help, &CONTACT_FORM)];
/// All pages.
pub const ALL: [Page; 7] = [Home, Search, Product, Cart, Checkout, Account, Help];

static SEARCH_FORM: Form = Form {
    name: "search",
    fields: &[element("input", "header form.search > input")],
    button: &button("header form.search > button", "d53a1b86"),
    route: "/api/searches",
    next: Search,
};
static PAYMENT_FORM: Form = Form {
    name: "payment",
    fields: &[
        element("input", "form.payment input.name"),
        element("input", "form.payment input.street"),
        element("select", "form.payment select.country"),
        element("input", "form.payment input.card"),
    ],
    button: &button("form.payment button.pay", "1c44e0b9"),
    route: "/api/orders",
    next: Account,
};
static PROFILE_FORM: Form = Form {
    name: "profile",
    fields: &[element("input", "form.profile input.email"), element("input", "form.profile input.phone")],
    button: &button("form.profile button.save", "66f8a0d2"),
    route: "/api/customers/:id",
    next: Home,
};
static CONTACT_FORM: Form = Form {
    name: "contact",
    fields: &[
        element("input", "form.contact input.subject"),
        element("textarea", "form.contact textarea.message"),
    ],
    button: &button("form.contact button.send", "3e90c7f5"),
    route: "/api/messages",
    next: Home,
};
const fn element(tag: &'static str, selector: &'static str) -> Element {
    Element { selector, tag, role: None, text_hash: None, interactive: None }
}

const fn button(selector: &'static str, text_hash: &'static str) -> Element {
    Element { selector, tag: "button", role: None, text_hash: Some(text_hash), interactive: None }
}

impl Page {
    /// Where people go from here, by weight.
    pub const fn next(self) -> &'static [(u32, Page)] {
        match self {
            Home => &[(45, Search), (35, Product), (8, Account), (7, Help), (5, Cart)],
            Search => &[(80, Product), (15, Home), (5, Help)],
            Product => &[(40, Search), (35, Cart), (20, Home), (5, Help)],
            Cart => &[(55, Checkout), (30, Product), (15, Home)],
            Checkout => &[(50, Account), (25, Cart), (25, Home)],
            Account => &[(60, Home), (20, Help), (20, Search)],
            Help => &[(50, Home), (30, Account), (20, Search)],
        }
    }

    /// The link that leads here, on every page.
    pub const fn link(self) -> &'static Element {
        const HOME: Element = element("a", "header a.logo");
        const SEARCH: Element = element("a", "nav.main > a.catalogue");
        const PRODUCT: Element = element("a", "main ul.products > li > a.product-link");
        const CART: Element = Element {
            selector: "header div.sc-bdVaJa.cart-symbol",
            tag: "div",
            role: Some("link"),
            text_hash: None,
            interactive: None,
        };
        const CHECKOUT: Element = element("a", "main a.to-checkout");
        const ACCOUNT: Element = element("a", "header a.account");
        const HELP: Element = element("a", "footer a.help");
        match self {
            Home => &HOME,
            Search => &SEARCH,
            Product => &PRODUCT,
            Cart => &CART,
            Checkout => &CHECKOUT,
            Account => &ACCOUNT,
            Help => &HELP,
        }
    }

    /// What can be pressed here without leaving.
    pub const fn controls(self) -> &'static [Element] {
        const HOME: &[Element] = &[
            button("section.hero > button.next-slide", "6e1f0c2a"),
            Element {
                selector: "nav.main > div.css-1q8f3z.menu",
                tag: "div",
                role: Some("menuitem"),
                text_hash: Some("a90b11d7"),
                interactive: None,
            },
        ];
        const SEARCH: &[Element] = &[
            button("aside.filters button.apply-filter", "13c07be4"),
            button("main button.more-results", "77d2e9a0"),
            element("summary", "aside.filters details > summary"),
        ];
        const PRODUCT: &[Element] = &[
            button("main button.css-9ab2kd.add-to-cart", "5b0c9f31"),
            button("main div.colours > button:nth-child(2)", "e2a4410c"),
            Element {
                selector: "main div.tabs > span.tab",
                tag: "span",
                role: Some("tab"),
                text_hash: Some("40ff73a9"),
                interactive: None,
            },
        ];
        const CART: &[Element] =
            &[button("main button.increase", "8d1e62f0"), button("main button.remove", "c4f1a2b3")];
        const CHECKOUT: &[Element] = &[
            button("main button.use-voucher", "2f9e0d18"),
            Element {
                selector: "main div.gift-wrap",
                tag: "div",
                role: None,
                text_hash: Some("91b6c5aa"),
                interactive: Some(true),
            },
        ];
        const ACCOUNT: &[Element] =
            &[button("main button.show-orders", "0a7d33ec"), button("main button.edit-address", "b8126f5d")];
        const HELP: &[Element] = &[
            element("summary", "main details.question > summary"),
            button("main button.helpful", "f03d9e77"),
        ];
        match self {
            Home => HOME,
            Search => SEARCH,
            Product => PRODUCT,
            Cart => CART,
            Checkout => CHECKOUT,
            Account => ACCOUNT,
            Help => HELP,
        }
    }

    /// What is only to be looked at.
    pub const fn plain(self) -> &'static [Element] {
        const PICTURES: &[Element] = &[
            element("img", "main figure > img"),
            element("div", "main div.price"),
            element("p", "main p.description"),
        ];
        const TEXTS: &[Element] = &[element("div", "main div.summary"), element("p", "main p.note")];
        match self {
            Home | Search | Product => PICTURES,
            Cart | Checkout | Account | Help => TEXTS,
        }
    }

    /// The form on it.
    pub fn form(self) -> Option<&'static Form> {
        match self {
            Home => Some(&SEARCH_FORM),
            Checkout => Some(&PAYMENT_FORM),
            Account => Some(&PROFILE_FORM),
            Help => Some(&CONTACT_FORM),
            Search | Product | Cart => None,
        }
    }

    /// The route of the request that fills it.
    pub const fn source(self) -> &'static str {
        match self {
            Home => "/api/offers",
            Search => "/api/products",
            Product => "/api/products/:id",
            Cart => "/api/carts/:id",
            Checkout => "/api/carts/:id/total",
            Account => "/api/customers/:id",
            Help => "/api/questions",
        }
    }
}

/// The address.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("https://shop.example")?;
        let item = self.item;
        match self.page {
            Home => formatter.write_str("/"),
            Search => write!(formatter, "/search?q=words+of+theirs&page={}", item % 5 + 1),
            Product => write!(formatter, "/product/{}", 10_000 + item),
            Cart => formatter.write_str("/cart"),
            Checkout => formatter.write_str("/checkout"),
            Account => write!(formatter, "/account/{}", 500_000 + item),
            Help => formatter.write_str("/help"),
        }
    }
}
