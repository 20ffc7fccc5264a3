// SPDX-License-Identifier: MIT
// Whether a text is JSON, nearly.
#pragma once

#include <stdbool.h>
#include <string.h>

/* Skips one JSON value; NULL if it is none. */
static inline const char *json_value(const char *at)
{
    at += strspn(at, " \n");
    if (*at == '"') {
        for (at++; *at && *at != '"'; at++)
            if (*at == '\\')
                at++;
        return *at ? at + 1 : NULL;
    }
    if (*at == '{' || *at == '[') {
        char close = *at == '{' ? '}' : ']';
        bool object = *at++ == '{';
        at += strspn(at, " \n");
        while (*at != close) {
            if (object) {
                at = json_value(at);
                if (!at || *at != ':')
                    return NULL;
                at++;
            }
            at = json_value(at);
            if (!at)
                return NULL;
            at += strspn(at, " \n");
            if (*at == ',')
                at += 1 + strspn(at + 1, " \n");
            else if (*at != close)
                return NULL;
        }
        return at + 1;
    }
    size_t n = strspn(at, "0123456789.-+eE");
    return n > 0 ? at + n : NULL;
}

static inline bool is_json(const char *in)
{
    const char *end = json_value(in);
    return end && end[strspn(end, " \n")] == 0;
}
