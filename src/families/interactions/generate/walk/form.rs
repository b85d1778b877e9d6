//! Forms: filled in, sent, and refused.

use super::Walk;
use crate::engine::Millis;
use crate::families::interactions::generate::event::{Body, Field};
use crate::families::interactions::generate::page::{Element, Form};

impl Walk {
    /// Types into a field, or chooses; when that began.
    pub fn fill(&mut self, form: &'static Form, target: &'static Element, strokes: i32) -> Millis {
        let field = Field { target, form: Some(form.name) };
        self.click(target);
        self.wait(2, 20);
        self.emit(Body::Focus(field));
        self.wait(150, 600);
        let began_at = self.now;
        if target.tag != "select" {
            for _ in 0..strokes {
                self.emit(Body::Input(field));
                self.now += self.human.lasting(160, 0.4, 60, 700);
            }
        }
        self.emit(Body::Change(field));
        self.wait(1, 10);
        self.emit(Body::Blur(field));
        began_at
    }

    /// Enters a field that has been clicked, and leaves it much later as it was.
    pub fn look_into(&mut self, form: &'static Form, target: &'static Element) {
        let field = Field { target, form: Some(form.name) };
        self.wait(2, 20);
        self.emit(Body::Focus(field));
        self.wait(8_000, 12_000);
        self.emit(Body::Blur(field));
    }

    /// Sends a form, which is taken, and leads on.
    pub fn send(&mut self, form: &'static Form) {
        match form.fields.last() {
            Some(target) if self.human.chance(30) => {
                self.wait(200, 600);
                self.emit(Body::Key(Field { target, form: Some(form.name) }));
            }
            _ => {
                self.click(form.button);
            }
        }
        let duration = self.human.lasting(350, 0.5, 120, 1_500);
        self.now += duration;
        self.request("POST", form.route, 201, duration);
        self.wait(1, 20);
        self.emit(Body::Submit { form: form.name, failed: false });
        self.wait(50, 300);
        self.push(form.next);
    }

    /// Sends a form, which is refused, with so many of its fields named; when that was. All of it is one attempt.
    pub fn send_in_vain(&mut self, form: &'static Form, errors: usize) -> Millis {
        self.click(form.button);
        self.wait(30, 250);
        let at = self.now;
        self.last_refusal = at;
        self.emit(Body::Submit { form: form.name, failed: true });
        for target in form.fields.iter().cycle().take(errors) {
            self.wait(2, 40);
            let code = *self.human.pick(&["required", "pattern", "too_long"]);
            self.emit(Body::ValidationError { form: form.name, target, code });
        }
        self.answer(10, 80);
        at
    }
}
