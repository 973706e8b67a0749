//! A call is answered once.

use airssys_rt::Reply;

fn answer(reply: Reply<u64>) {
    reply.send(1);
    reply.send(2);
}
