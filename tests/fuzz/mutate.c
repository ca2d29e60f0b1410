/* Changes of a file's bytes; see fuzz.h. */
#include <string.h>
#include <stdio.h>

#include "fuzz.h"

/* SplitMix64 (Steele, Lea, Flood 2014), so that a seed gives the same files everywhere. */
static uint64_t draw(uint64_t *random, uint64_t below)
{
    uint64_t x = *random += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (x ^ x >> 31) % below;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Numbers at the ends of types and of what the formats allow. */
static uint64_t edge(uint64_t *random)
{
    static const int bits[] = {0, 1, 7, 8, 15, 16, 31, 32, 33, 48, 53, 62, 63};
    const uint64_t power = (uint64_t)1 << bits[draw(random, sizeof bits / sizeof *bits)];
    const uint64_t near = power + draw(random, 3) - 1;
    return draw(random, 4) == 0 ? -near : near;
}

static void replace(fuzz_file *f, size_t at, size_t old, const void *bytes, size_t size)
{
    if (f->size - old + size >= FUZZ_MOST)
        return;
    memmove(f->bytes + at + size, f->bytes + at + old, f->size - at - old);
    memcpy(f->bytes + at, bytes, size);
    f->size += size - old;
}

/* A number in text, at `at` or the next after it. */
static void change_number(fuzz_file *f, size_t at, uint64_t *random)
{
    static const char *const numbers[] = {"0",     "-1",   "0.5",  "1e39", "1e308",
                                          "1e999", "null", "true", "\"\"", "[]"};
    char text[32];
    size_t end;
    while (at < f->size && !strchr("0123456789", f->bytes[at] ? f->bytes[at] : 'x'))
        at++;
    for (end = at; end < f->size && strchr("0123456789.+-eE", f->bytes[end] ? f->bytes[end] : 'x');)
        end++;
    if (draw(random, 2))
        snprintf(text, sizeof text, "%lld", (long long)edge(random));
    else
        strcpy(text, numbers[draw(random, sizeof numbers / sizeof *numbers)]);
    replace(f, at, end - at, text, strlen(text));
}

static void change(fuzz_file *f, uint64_t *random)
{
    const size_t at = draw(random, f->size), left = f->size - at;
    const size_t length = least(left, (size_t)1 << draw(random, 7));
    const uint64_t number = edge(random);
    uint8_t range[64];
    switch (draw(random, 9)) {
    case 0:
        f->bytes[at] ^= (uint8_t)(1u << draw(random, 8));
        break;
    case 1:
        f->bytes[at] = (uint8_t)draw(random, 256);
        break;
    case 2: /* little-endian, as this machine's */
        memcpy(f->bytes + at, &number, least(left, (size_t)1 << draw(random, 4)));
        break;
    case 3:
        change_number(f, at, random);
        break;
    case 4:
        memset(f->bytes + at, draw(random, 2) ? 0xff : 0, length);
        break;
    case 5:
        memmove(f->bytes + at, f->bytes + draw(random, f->size - length + 1), length);
        break;
    case 6:
        memcpy(range, f->bytes + draw(random, f->size - length + 1), length);
        replace(f, at, 0, range, length);
        break;
    case 7:
        replace(f, at, length, "", 0);
        break;
    default:
        if (draw(random, 8) == 0)
            f->size = at;
    }
}

void fuzz_mutate(fuzz_file *file, uint64_t *random)
{
    for (uint64_t left = 1 + draw(random, 4); left > 0; left--)
        if (file->size > 0)
            change(file, random);
}
