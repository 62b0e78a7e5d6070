/* The write of a line: an accelerator of `descriptors.write_own`. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static long own_flags = -1; /* what the system reports for the descriptors of log files; -1 where nothing is compared */

static PyObject *know_flags(PyObject *Py_UNUSED(module), PyObject *flags) {
    long known = PyLong_AsLong(flags);
    if (known == -1 && PyErr_Occurred()) return NULL;
    own_flags = known;
    Py_RETURN_NONE;
}

/* `os.write` into a descriptor that has the flags of a log file; into another OSError(EBADF), and no byte. */
static PyObject *write_own(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "write_own(fd, data)");
        return NULL;
    }
    long fd = PyLong_AsLong(arguments[0]);
    Py_buffer data;
    if ((fd == -1 && PyErr_Occurred()) || PyObject_GetBuffer(arguments[1], &data, PyBUF_SIMPLE) < 0) return NULL;
    ssize_t written = -1;
    int failed = EBADF;
    do {
        /* Under the interpreter's lock: until it is let go, no Python of another thread closes the descriptor. */
        if (own_flags >= 0 && fcntl((int)fd, F_GETFL) != own_flags) break;
        Py_BEGIN_ALLOW_THREADS
        written = write((int)fd, data.buf, (size_t)data.len);
        failed = errno;
        Py_END_ALLOW_THREADS
    } while (written < 0 && failed == EINTR && PyErr_CheckSignals() == 0);
    PyBuffer_Release(&data);
    if (written >= 0) return PyLong_FromSsize_t(written);
    if (PyErr_Occurred()) return NULL;
    errno = failed;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyMethodDef functions[] = {
    {"write_own", (PyCFunction)(void (*)(void))write_own, METH_FASTCALL,
     "write_own(fd, data): os.write into a log file; OSError(EBADF) and no byte into what has other flags."},
    {"know_flags", know_flags, METH_O, "know_flags(flags): what the system reports for a log file's descriptor; -1: nothing."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_heads", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit__heads(void) { return PyModule_Create(&module); }
