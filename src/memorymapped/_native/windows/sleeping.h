/* SPDX-License-Identifier: MIT
 *
 * How a thread sleeps on a word in shared memory (futex.h): the half of Windows, where only threads of one process can
 * sleep on an address. So each word on which somebody has slept has a **channel**, a named semaphore of the system, whose
 * name is made of what tells the mapped object from all others (views.h) and of the word's position in it: all who map
 * the word find the same one. A word in memory of this process's own has one without a name.
 *
 * Wait    1  open the channel.
 *         2  look at the word: another value: EAGAIN.
 *         3  wait for the semaphore: takes a token.
 * Wake    1  (The caller has changed the word.)
 *         2  open the channel, add tokens: one for each who is to be woken.
 *
 * No wake is lost between processes: a token stays until it is taken, while somebody has the channel open. The waiter has
 * it open before he looks, so either he sees the changed word, or his look came before the change, and then the tokens
 * come to a channel that he has open. A token that nobody took (who was counted as a waiter had left, was killed, or saw
 * the change himself) wakes a later waiter in vain: he looks, and sleeps again. There are TOKENS of them at most.
 *
 * Somebody who came later may take the token of one who is between 2 and 3, and sleep on. Who is killed with a token takes
 * it away. Both cost the other's next look: all callers look every 250 ms at least (futex.pyx).
 *
 * Who may not open a channel, as another user has made it, sleeps in pieces of 10 ms.
 */
#ifndef MEMORYMAPPED_SLEEPING_H
#define MEMORYMAPPED_SLEEPING_H

#include <errno.h>
#include <stdint.h>

#define MMF_WAITV_MOST 128

/* The handle of the channel of a place in a view, which stays open as long as the view; NULL: it cannot be had. */
void *mmf_channel(const void *place);

void mmf_futex_wake(uint32_t *word, int most);

/* Wakes all. `counted`: how many there may be. */
static inline void mmf_futex_wake_all(uint32_t *word, uint32_t counted)
{
    mmf_futex_wake(word, counted < INT32_MAX ? (int)counted : INT32_MAX);
}

/* Sleeps while the word is `value`, at most `seconds`. 0 (woken), EAGAIN (it is another value), ETIMEDOUT. */
int mmf_futex_wait(uint32_t *word, uint32_t value, double seconds);

/* The same for several words, while each has its value. */
int mmf_futex_waitv(uint32_t *const *words, const uint32_t *values, int count, double seconds);

int mmf_sleep(double seconds);

/* As the system's waits take them. Rounded up, as who wakes too early would only look, and sleep again. */
static inline uint32_t mmf_milliseconds(double seconds)
{
    return seconds <= 0 ? 0 : seconds >= 4e6 ? 4000000000u : (uint32_t)(seconds * 1000 + 0.999);
}

/* From now on this event, which Ctrl-C sets, wakes the calling thread from its sleeps, as if it had been woken. */
void mmf_interrupt_by(void *event);

/* WaitForMultipleObjects for any of them, with that event behind them: there must be room for it. */
unsigned long mmf_wait_for(void **handles, unsigned long count, unsigned long most);

/* ---- groups of sleepers on one word, told apart by a number modulo 32: the channels are those of 32 bytes from the word
 * on, so none of these but the first may be slept on otherwise */

int mmf_group_wait(uint32_t *word, uint32_t value, uint32_t group, double seconds);

/* How many there were; where nobody knows, `most`. */
uint32_t mmf_group_wake(uint32_t *word, uint32_t group, uint32_t most);

#endif
