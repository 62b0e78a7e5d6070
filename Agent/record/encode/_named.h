/* The bytes over which the digest of an agent's fields is taken, made from their JSON without parsing it.
   Included by `_native.c`. */

enum { MOST_NAMED = 64, LONGEST_NUMBER = 17 };

typedef struct {
    const char *name; /* with its quotes, up to and with the colon */
    Py_ssize_t name_size;
    const char *value;
    Py_ssize_t value_size;
    PyObject *tag; /* borrowed; NULL if it has none */
    const char *tag_text;
    Py_ssize_t tag_size;
} Named;

/* The end of a string that begins at `at`; NULL if it does not end. The caller has ruled out escapes. */
static const char *past_string(const char *at, const char *end) {
    const char *quote = at + 1 < end ? memchr(at + 1, '"', (size_t)(end - at - 1)) : NULL;
    return quote == NULL ? NULL : quote + 1;
}

/* The end of a number; NULL if the codec might write it in another form after reading it. */
static const char *past_number(const char *at, const char *end) {
    const char *begin = at;
    while (at < end && ((*at >= '0' && *at <= '9') || *at == '-' || *at == '.')) at++;
    if (at < end && (*at == 'e' || *at == 'E' || *at == '+')) return NULL;
    int is_float = memchr(begin, '.', (size_t)(at - begin)) != NULL;
    return at - begin > LONGEST_NUMBER + (is_float ? 5 : 0) ? NULL : at;
}

/* The end of a value; NULL if it is not one that is written the same again. */
static const char *past_value(const char *at, const char *end) {
    int depth = 0;
    while (at < end) {
        char sign = *at;
        if (sign == '"') {
            if ((at = past_string(at, end)) == NULL) return NULL;
        } else if (sign == '{' || sign == '[') {
            depth++, at++;
            continue;
        } else if (sign == '}' || sign == ']') {
            if (depth == 0) return NULL;
            depth--, at++;
        } else if (sign == ',' || sign == ':') {
            if (depth == 0) return NULL;
            at++;
            continue;
        } else if (sign == '-' || (sign >= '0' && sign <= '9')) {
            if ((at = past_number(at, end)) == NULL) return NULL;
        } else if (end - at >= 4 && (memcmp(at, "true", 4) == 0 || memcmp(at, "null", 4) == 0)) {
            at += 4;
        } else if (end - at >= 5 && memcmp(at, "false", 5) == 0) {
            at += 5;
        } else {
            return NULL;
        }
        if (depth == 0) return at;
    }
    return NULL;
}

static int by_name(const void *one, const void *other) {
    const Named *a = one, *b = other;
    Py_ssize_t shorter = a->name_size < b->name_size ? a->name_size : b->name_size;
    /* the names alone, since the quotation mark after them would count as a letter */
    int order = memcmp(a->name + 1, b->name + 1, (size_t)(shorter - 3));
    return order != 0 ? order : (a->name_size > b->name_size) - (a->name_size < b->name_size);
}

/* The number of members; -1 if Python has to do it. */
static int split_named(const char *at, Py_ssize_t size, Named *found) {
    const char *end = at + size;
    int count = 0;
    if (memchr(at, '\\', (size_t)size) != NULL) return -1;
    while (at < end) {
        if (count == MOST_NAMED || *at != '"') return -1;
        const char *past = past_string(at, end), *value = past == NULL ? NULL : past + 1;
        if (past == NULL || past >= end || *past != ':') return -1;
        const char *next = past_value(value, end);
        if (next == NULL || (next < end && *next != ',') || next + 1 == end) return -1;
        found[count++] = (Named){at, value - at, value, next - value, NULL, NULL, 0};
        at = next < end ? next + 1 : end;
    }
    return count;
}

/* Tags under which the order of a value's keys or members does not count. */
static int has_no_order(const char *tag, Py_ssize_t size) {
    static const char *names[] = {"dataclass", "pydantic", "namedtuple", "set", "frozenset"};
    const char *colon = memchr(tag, ':', (size_t)size);
    Py_ssize_t length = colon == NULL ? size : colon - tag;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if ((Py_ssize_t)strlen(names[i]) == length && memcmp(tag, names[i], (size_t)length) == 0) return 1;
    return 0;
}

/* Whether the form of a value without a codec shows its content; 0 also if that takes a closer look. */
static int is_shown(const Named *member) {
    static const char unseen[] = "\"unseen\"";
    if (*member->value != '{') return 0;
    const char *at = member->value, *end = at + member->value_size;
    while ((at = memchr(at, '"', (size_t)(end - at))) != NULL && end - at >= (Py_ssize_t)sizeof unseen - 1) {
        if (memcmp(at, unseen, sizeof unseen - 1) == 0) return 0;
        at++;
    }
    return 1;
}

/* Gives the members their tags; returns whether it could, and in `tagged` how many have one, -1 after an exception. */
static int tag_named(Named *members, int count, PyObject *types, const char *pointer, Py_ssize_t pointer_size, int *tagged) {
    PyObject *place, *tag;
    Py_ssize_t at = 0, size, tag_size;
    while (PyDict_Next(types, &at, &place, &tag)) {
        const char *text = PyUnicode_CheckExact(place) ? PyUnicode_AsUTF8AndSize(place, &size) : NULL;
        const char *tag_text = PyUnicode_CheckExact(tag) ? PyUnicode_AsUTF8AndSize(tag, &tag_size) : NULL;
        if (text == NULL || tag_text == NULL) return 0;
        if (size < pointer_size || memcmp(text, pointer, (size_t)pointer_size) != 0) continue;
        if (size == pointer_size) return 0;
        if (text[pointer_size] != '/') continue;
        const char *name = text + pointer_size + 1;
        Py_ssize_t length = size - pointer_size - 1;
        if (memchr(name, '/', (size_t)length) != NULL || memchr(name, '~', (size_t)length) != NULL) return 0;
        for (Py_ssize_t i = 0; i < tag_size; i++)
            if (tag_text[i] == '"' || tag_text[i] == '\\' || (unsigned char)tag_text[i] < ' ') return 0;
        if (has_no_order(tag_text, tag_size) || (tag_size == 9 && memcmp(tag_text, "truncated", 9) == 0)) return 0;
        Named *member = NULL;
        for (int i = 0; member == NULL && i < count; i++)
            if (members[i].name_size == length + 3 && memcmp(members[i].name + 1, name, (size_t)length) == 0) member = members + i;
        if (member == NULL) return 0;
        member->tag = tag, member->tag_text = tag_text, member->tag_size = tag_size;
        ++*tagged;
    }
    return 1;
}

static const char TAGGED[] = "{\"\\u0000\":[\"";

static char *put_named(char *at, const Named *member) {
    at = put_bytes(at, member->name, member->name_size);
    if (member->tag != NULL) {
        at = put_bytes(at, TAGGED, sizeof TAGGED - 1);
        at = put_bytes(at, member->tag_text, member->tag_size);
        at = put_bytes(at, "\",", 2);
    }
    at = put_bytes(at, member->value, member->value_size);
    return member->tag == NULL ? at : put_bytes(at, "]}", 2);
}

/* named_form(inner, types, pointer): the bytes that `named_bytes` of digest.py makes of these fields, and the names of those that
   are opaque; None if Python has to look, also where the content of a field cannot be seen. */
static PyObject *named_form(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 3 || !PyBytes_CheckExact(arguments[0]) || !PyUnicode_CheckExact(arguments[2])) {
        PyErr_SetString(PyExc_TypeError, "named_form(inner, types, pointer)");
        return NULL;
    }
    Named members[MOST_NAMED];
    Py_ssize_t size = PyBytes_GET_SIZE(arguments[0]), pointer_size;
    const char *pointer = PyUnicode_AsUTF8AndSize(arguments[2], &pointer_size);
    int tagged = 0, found = pointer == NULL ? -1 : split_named(PyBytes_AS_STRING(arguments[0]), size, members);
    if (found < 0 || (arguments[1] != Py_None && !PyDict_CheckExact(arguments[1]))) goto left;
    if (arguments[1] != Py_None && !tag_named(members, found, arguments[1], pointer, pointer_size, &tagged)) goto left;
    qsort(members, (size_t)found, sizeof *members, by_name);
    Py_ssize_t needed = size + 5;
    PyObject *opaque = PyList_New(0), *form = NULL, *both = NULL;
    for (int i = 0; opaque != NULL && i < found; i++) {
        Named *member = members + i;
        int is_twice = i > 0 && by_name(member - 1, member) == 0;
        int is_opaque = member->tag_size == 6 && memcmp(member->tag_text, "opaque", 6) == 0;
        if (is_twice || (is_opaque && !is_shown(member))) {
            Py_CLEAR(opaque);
            goto left;
        }
        needed += member->tag == NULL ? 0 : (Py_ssize_t)sizeof TAGGED + member->tag_size + 4;
        if (!is_opaque) continue;
        PyObject *name = PyUnicode_FromStringAndSize(member->name + 1, member->name_size - 3);
        if (name == NULL || PyList_Append(opaque, name) < 0) Py_CLEAR(opaque);
        Py_XDECREF(name);
    }
    if (opaque != NULL && (form = PyBytes_FromStringAndSize(NULL, needed)) != NULL) {
        char *at = PyBytes_AS_STRING(form), *begin = at;
        at = put_bytes(at, "1:{", tagged ? 3 : 0);
        if (!tagged) *at++ = '{';
        for (int i = 0; i < found; i++) {
            if (i > 0) *at++ = ',';
            at = put_named(at, members + i);
        }
        *at++ = '}';
        if (_PyBytes_Resize(&form, at - begin) == 0) both = PyTuple_Pack(2, form, opaque);
    }
    Py_XDECREF(form);
    Py_XDECREF(opaque);
    return both;
left:
    PyErr_Clear(); /* a lone surrogate in a pointer or a tag */
    Py_RETURN_NONE;
}
